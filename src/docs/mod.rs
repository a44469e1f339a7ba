//! The manual, a page for each reader. `README.md` at the root leads to them, `README.ru.md` beside them is the same in
//! Russian. No code is here: pages are rustdoc so that a link to what is gone breaks the build.
//!
//! Pages link to each other by file, for those who read them beside the code. What is put before each of them makes
//! rustdoc lead to the module instead, since the first definition of a link counts.

/// A page, with where its links lead in rustdoc.
macro_rules! page {
    ($name:ident, $file:literal) => {
        /// [adding-a-system.md]: crate::docs::adding_a_system
        /// [failures.md]: crate::docs::failures
        /// [messages.md]: crate::docs::messages
        /// [operating.md]: crate::docs::operating
        /// [quorum queues]: crate::docs::operating#quorum-queues
        /// [its own README]: crate::systems::bitrix24
        /// [Bitrix24]: crate::systems::bitrix24
        ///
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

page!(operating, "operating.md");
page!(messages, "messages.md");
page!(failures, "failures.md");
page!(adding_a_system, "adding-a-system.md");
