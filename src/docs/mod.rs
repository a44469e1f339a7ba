//! The manual, a page for each kind of reader. `README.md` at the root links to them; `README.ru.md` here is the same
//! in Russian. `first-process.ru.md` is in Russian only, since it follows what Bitrix24 shows. There is no code: the
//! pages are rustdoc, so that a broken link to code breaks the build.
//!
//! The pages link to each other by file, for people who read them in the repository. `page!` puts links to the modules
//! before each page, for rustdoc: there the first definition of a link counts.

/// A page, with the targets of its links in rustdoc.
macro_rules! page {
    ($name:ident, $file:literal) => {
        /// [adding-a-system.md]: crate::docs::adding_a_system
        /// [failures.md]: crate::docs::failures
        /// [finding-a-task.md]: crate::docs::finding_a_task
        /// [installing.md]: crate::docs::installing
        /// [messages.md]: crate::docs::messages
        /// [monitoring.md]: crate::docs::monitoring
        /// [metrics.md]: crate::docs::metrics
        /// [operating.md]: crate::docs::operating
        /// [troubleshooting.md]: crate::docs::troubleshooting
        /// [quorum queues]: crate::docs::operating#quorum-queues
        /// [its own README]: crate::systems::bitrix24
        /// [Bitrix24]: crate::systems::bitrix24
        ///
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

page!(installing, "installing.md");
page!(operating, "operating.md");
page!(messages, "messages.md");
page!(monitoring, "monitoring.md");
page!(failures, "failures.md");
page!(troubleshooting, "troubleshooting.md");
page!(metrics, "metrics.md");
page!(adding_a_system, "adding-a-system.md");
page!(finding_a_task, "finding-a-task.md");
page!(first_process, "first-process.ru.md");
