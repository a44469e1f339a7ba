//! Title and description, and how much of them the portal takes.

use serde_json::json;

use super::super::super::tests::settings;
use super::super::fields;
use super::super::tests::{field, made, of_variables, task};

#[test]
fn the_title_is_the_variable_else_the_activity_else_a_default() {
    let named = |title: &str| json!({"variables": {"title": title}, "metadata": {"activityInfo": {"name": "Этап"}}});
    assert_eq!(field(named(" Счёт "), "TITLE"), "Счёт");
    assert_eq!(field(named(" \n"), "TITLE"), "Этап");
    for (topic, title) in [
        ("bitrix_create_task", "Новая задача из процесса Camunda"),
        ("bitrix_update_task", "Обновление задачи из процесса Camunda"),
        ("bitrix_create_deal", "Новая сделка из процесса Camunda"),
        ("bitrix_update_deal", "Обновление сделки из процесса Camunda"),
        ("bitrix_create_contact", "Новый контакт из процесса Camunda"),
        ("anything", "Задача из Camunda процесса (anything)"),
    ] {
        let unnamed = json!({"topic": topic, "metadata": {"activityInfo": {"name": ""}}});
        assert_eq!(field(unnamed, "TITLE"), title);
    }
}

#[test]
fn a_title_of_type_json_is_without_its_quotes() {
    for kind in ["Json", "Object"] {
        let titled = |text: &str| of_variables(json!({"title": {"value": text, "type": kind}}), "TITLE");
        assert_eq!(titled("\"Счёт №5\""), "Счёт №5");
        assert_eq!(titled("Счёт №5"), "Счёт №5");
        assert_eq!(titled("\"ok \\ud83d\""), "ok \u{fffd}");
    }
    assert_eq!(of_variables(json!({"title": {"value": "\"Счёт №5\"", "type": "String"}}), "TITLE"), "\"Счёт №5\"");
}

#[test]
fn a_title_that_is_no_text_is_warned_about_and_the_activity_is_used() {
    for wrong in [json!(["Счёт"]), json!({"a": 1}), json!("rO0ABXNyAA==")] {
        let message = json!({"variables": {"title": wrong}, "metadata": {"activityInfo": {"name": "Этап"}}});
        let made = made(message);
        assert_eq!((&made.fields["TITLE"], made.warnings.len()), (&json!("Этап"), 1), "{:?}", made.warnings);
    }
}

#[test]
fn a_description_that_is_no_text_is_shown_as_json() {
    let given = json!({"a": [1, "ё"]});
    assert_eq!(of_variables(json!({"description": given}), "DESCRIPTION"), given.to_string());
    let typed = json!({"description": {"value": given.to_string(), "type": "Json"}, "description_additional": [7]});
    assert_eq!(of_variables(typed, "DESCRIPTION"), format!("{given}\n[7]"));
}

#[test]
fn a_long_title_is_cut_in_characters_and_stays_whole_in_the_description() {
    let made = made(json!({"variables": {"title": "я".repeat(251)}}));
    assert_eq!(made.fields["TITLE"], "я".repeat(249) + "…");
    assert_eq!(made.origins["TITLE"], ["variables.title", "cut to 250 characters"]);
    assert_eq!(made.fields["DESCRIPTION"], "я".repeat(251));
    assert_eq!(made.origins["DESCRIPTION"], ["variables.title"]);
    for whole in ["я".repeat(250), "я".repeat(245) + "😀", "😀".repeat(25) + "12345"] {
        let made = super::super::tests::made(json!({"variables": {"title": whole}}));
        assert_eq!(made.fields["TITLE"], whole);
        assert_eq!(made.origins["TITLE"], ["variables.title"]);
    }
}

/// Gothic, an emoji of several characters, and a rare ideograph: all of them above U+FFFF.
#[test]
fn characters_above_u_ffff_count_ten_in_a_title_and_never_leave_nothing() {
    for (title, cut) in [
        ("я".repeat(246) + "😀", "я".repeat(246) + "…"),
        ("😀".to_owned() + &"я".repeat(246), "😀".to_owned() + &"я".repeat(244) + "…"),
        ("😀".repeat(26), "😀".repeat(25) + "…"),
        ("𐌰".repeat(100_000), "𐌰".repeat(25) + "…"),
        ("𠀋".repeat(25) + "123456", "𠀋".repeat(25) + "1234…"),
    ] {
        let made = made(json!({"variables": {"title": format!(" {title}\n")}}));
        assert_eq!(made.fields["TITLE"], cut);
        let how = "cut to 255 characters as the portal stores them";
        assert_eq!(made.origins["TITLE"], ["variables.title", how]);
        let counted: usize = cut.chars().map(|c| if c > '\u{ffff}' { 10 } else { 1 }).sum();
        assert!(cut.chars().count() <= 250 && counted <= 255, "{cut}");
    }
}

#[test]
fn a_title_that_the_portal_would_trim_to_nothing_counts_as_blank() {
    let named = |title: &str| json!({"variables": {"title": title}, "metadata": {"activityInfo": {"name": "\0Этап "}}});
    assert_eq!(field(named("\0 \0"), "TITLE"), "Этап");
    assert_eq!(field(named("\0 Счёт\0"), "TITLE"), "Счёт");
    let unnamed = json!({"topic": "t", "metadata": {"activityInfo": {"name": "\0"}}});
    assert_eq!(field(unnamed, "TITLE"), "Задача из Camunda процесса (t)");
}

#[test]
fn the_description_is_the_variable_else_the_title_with_the_addition_on_a_new_line() {
    let description = |variables| of_variables(variables, "DESCRIPTION");
    assert_eq!(description(json!({"title": "Счёт"})), "Счёт");
    assert_eq!(description(json!({"title": "Счёт", "description": " "})), "Счёт");
    assert_eq!(description(json!({"title": "Счёт", "description": "Оплатить"})), "Оплатить");
    let with_addition = json!({"description": "Оплатить", "description_additional": "до пятницы"});
    assert_eq!(description(with_addition), "Оплатить\nдо пятницы");
    assert_eq!(description(json!({"title": "Счёт", "description_additional": "до пятницы"})), "Счёт\nдо пятницы");
}

#[test]
fn a_long_description_is_cut_in_characters_and_says_so() {
    let settings = settings(&[("BITRIX_MAX_DESCRIPTION_LENGTH", "100")]);
    let description = |length: usize| {
        let message = json!({"variables": {"description": "я".repeat(length)}});
        fields(&task(message), &settings).fields["DESCRIPTION"].as_str().expect("a text").to_owned()
    };
    assert_eq!(description(100), "я".repeat(100));
    assert_eq!(description(101), "я".repeat(81) + "[Описание обрезано]");
    assert_eq!(description(100_000).chars().count(), 100);
}

#[test]
fn a_description_is_cut_to_what_the_column_holds_whatever_the_setting_says() {
    let settings = settings(&[("BITRIX_MAX_DESCRIPTION_LENGTH", "1000000")]);
    let described = |description: &str| {
        let made = fields(&task(json!({"variables": {"description": description}})), &settings);
        let description = made.fields["DESCRIPTION"].as_str().expect("a text").to_owned();
        (description, made.origins["DESCRIPTION"][1..].to_vec())
    };
    let mark = "[Описание обрезано]";
    let how = "cut to 65535 bytes as the portal stores them";
    // The mark has 35 bytes.
    for (long, cut) in [
        ("я".repeat(35_000), "я".repeat(32_750) + mark),
        ("a".repeat(65_536), "a".repeat(65_500) + mark),
        ("😀".repeat(6_554), "😀".repeat(6_550) + mark),
        ("𐌰".repeat(70_000), "𐌰".repeat(6_550) + mark),
        ("€".repeat(30_000), "€".repeat(21_833) + mark),
    ] {
        let (description, origin) = described(&long);
        assert_eq!(description.chars().count(), cut.chars().count());
        assert!(description == cut);
        assert_eq!(origin, [how]);
        let stored: usize = cut.chars().map(|c| if c > '\u{ffff}' { 10 } else { c.len_utf8() }).sum();
        assert!(stored <= 65_535, "{stored}");
    }
    for whole in ["a".repeat(65_535), "я".repeat(32_767), "😀".repeat(6_553) + "12345"] {
        assert!(described(&whole) == (whole, Vec::new()));
    }
}

#[test]
fn the_nearer_of_two_limits_of_a_description_counts() {
    let described = |longest: &str| {
        let settings = settings(&[("BITRIX_MAX_DESCRIPTION_LENGTH", longest)]);
        let made = fields(&task(json!({"variables": {"description": "😀".repeat(20_000)}})), &settings);
        let length = made.fields["DESCRIPTION"].as_str().map(|text| text.chars().count());
        (length, made.origins["DESCRIPTION"].concat())
    };
    assert_eq!(described("5000"), (Some(5_000), "variables.descriptioncut to 5000 characters".into()));
    let stored = "variables.descriptioncut to 65535 bytes as the portal stores them";
    assert_eq!(described("10000"), (Some(6_569), stored.into()));
}
