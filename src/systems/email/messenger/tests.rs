//! Mails to operators at the sandbox's server.

use std::collections::BTreeSet;

use super::super::tests::server;
use super::*;
use crate::sandbox::smtp::SmtpFake;

fn post(to: &str) -> (SmtpFake, Result<EmailMessenger, String>) {
    // The list of domains is for processes.
    let (fake, settings) = server(&[("EMAIL_ALLOWED_DOMAINS", "firma.example")]);
    (fake, EmailMessenger::new(&settings, to))
}

#[test]
fn all_get_one_mail_that_no_program_answers() {
    let (fake, made) = post("anna@firma.example, Иван <ivan@elsewhere.example>");
    let mut messenger = made.expect("addresses");
    messenger.send("bitrix24: цель недоступна", "Первая строка.\nВторая.").expect("it is sent");
    messenger.send("bitrix24: цель недоступна", "Первая строка.\nВторая.").expect("it is sent");
    let mails = fake.mails();
    assert_eq!((mails.len(), mails[0].to.len(), mails[0].subject()), (2, 2, "bitrix24: цель недоступна".into()));
    assert_eq!(mails[0].header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(mails[0].header("X-Camunda-Task-Id"), None);
    let ids: BTreeSet<String> = (0..100).map(|_| messenger.mail("a", "b").message_id).collect();
    assert_eq!(ids.len(), 100, "a mailbox would drop what has the same id");
    assert_ne!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    assert_eq!(messenger.look().expect("no question"), "anna@firma.example, ivan@elsewhere.example");
}

#[test]
fn a_mail_that_nobody_has_is_a_failure_and_one_that_somebody_has_is_not_repeated() {
    let (fake, nobody) = post("nobody@firma.example");
    assert!(matches!(nobody.expect("an address").send("a", "b"), Err(Failure::Permanent(_))));
    let (_later, grey) = post("grey@firma.example");
    let put_off = grey.expect("an address").send("a", "b").expect_err("greylisting");
    assert!(matches!(put_off, Failure::OutcomeUnknown { visible_in, .. } if visible_in == Duration::from_secs(77)));
    assert!(fake.mails().is_empty());
    let (fake, both) = post("nobody@firma.example; anna@firma.example");
    both.expect("addresses").send("a", "b").expect("somebody has it");
    assert_eq!(fake.mails()[0].to, ["anna@firma.example"]);
}

#[test]
fn what_is_no_address_is_said() {
    for wrong in ["anna", "anna@firma.example, ivan", " , "] {
        assert!(post(wrong).1.is_err(), "{wrong}");
    }
}
