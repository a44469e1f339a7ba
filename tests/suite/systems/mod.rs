//! Every system of the table, tested by the same cases: what the worker promises about a task holds for every target
//! and every failure.
//!
//! [`targets`] are what a system has to provide, [`cases`] are the promises, written once. A new system needs a file
//! with its target and a line in `conformance!`; without them `every_line_of_the_table_is_proven` fails.

mod cases;
pub mod targets;

use std::collections::BTreeSet;

use task_creator::systems::table::TABLE;

/// Makes a module of tests for each system, and the list of their names. Behind a system are the cases that not every
/// target can be put to: `found`, where tasks can be looked up, `shown_finished`, where such a look-up shows the
/// answer, `answered`, where they wait for people, and `gone`, where the worker learns that a task was deleted.
macro_rules! conformance {
    ($($module:ident: $target:ty, $($case:ident)*;)*) => {
        const PROVEN: &[&str] = &[$(<$target as targets::Target>::SYSTEM),*];
        $(mod $module {
            conformance!(@cases $target: created_once shown unknown_outcome refused down slow garbage unauthorised redacted
                killed_before_the_create killed_after_the_create $($case)*);
        })*
    };
    (@cases $target:ty: $($case:ident)*) => {
        $(#[test]
        fn $case() {
            super::cases::$case::<$target>();
        })*
    };
}

conformance! {
    bitrix24: crate::systems::targets::bitrix24::Bitrix24, found shown_finished answered gone;
    openproject: crate::systems::targets::openproject::OpenProject, found shown_finished answered gone;
    onec: crate::systems::targets::onec::Onec<false>, found shown_finished answered gone;
    onec_service: crate::systems::targets::onec::Onec<true>, found shown_finished answered gone;
    python: crate::systems::targets::python::Services<false>, found answered gone;
    default: crate::systems::targets::python::Services<true>, found answered gone;
    email: crate::systems::targets::email::Email, ;
    telegram: crate::systems::targets::telegram::Telegram, answered;
}

#[test]
fn every_line_of_the_table_is_proven() {
    assert_eq!(
        TABLE.iter().map(|entry| entry.name).collect::<BTreeSet<&str>>(),
        PROVEN.iter().copied().collect(),
        "systems of the table, and those with a target here"
    );
}
