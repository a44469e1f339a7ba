//! The whole table of routes, each asked by everybody who may and may not; and the table compared with its description.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::access::Access;
use super::api::Api;
use super::hub::Hub;
use super::routes::{ROUTES, Route};
use crate::config::{Config, Monitor};
use crate::http::server::{Header, Page, Reply, Request, Respond as _};
use crate::settings::Secret;
use crate::stop;

const READ: &str = "canary-of-reading-0123456789-0123";
const CONTROL: &str = "canary-of-control-0123456789-0123";
const WRONG: &str = "canary-of-nobody--0123456789-0123";

/// A monitor with these tokens, without a lane.
fn monitor(tokens: [Option<&str>; 2]) -> Api {
    let config = Config::read(|name| match name {
        "RABBITMQ_PASSWORD" => Some("canary-password".into()),
        // Nobody listens there.
        "RABBITMQ_PORT" => Some("1".into()),
        _ => None,
    });
    let hub = Hub::new(config.expect("nothing else is required"), Vec::new(), Arc::default(), &stop::signal().1);
    let [read_token, control_token] = tokens.map(|token| token.map(Secret::new));
    let address = SocketAddr::from(([10, 0, 0, 7], 9180));
    Api::new(&Monitor { address, read_token, control_token, hosts: vec!["monitor.example".into()] }, Arc::new(hub))
}

fn ask(api: &Api, method: &str, target: &str, headers: &[(&str, &str)]) -> Page {
    let host = [("Host", "127.0.0.1:9180")];
    let all =
        if headers.iter().any(|(name, _)| *name == "Host") { headers.to_vec() } else { [&host, headers].concat() };
    let headers: Vec<Header<'_>> = all.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
    match api.respond(&Request { method, target, headers: &headers, body: b"" }) {
        Reply::Page(page) => page,
        Reply::Raw(_) => panic!("no route takes the connection over"),
    }
}

/// The path with something in place of its names.
fn target(route: &Route) -> String {
    route.path.replace("{system}", "nobody").replace("{file}", "app.js").replace("{task_id}", "t").replace("{id}", "x")
}

/// The name of the problem in the answer; empty for an answer that is none.
fn problem(page: &Page) -> String {
    let body: Value = serde_json::from_slice(page.body()).unwrap_or_default();
    body["type"].as_str().unwrap_or_default().trim_start_matches("urn:task-creator:problem:").to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The problem that the rules tell this caller of, if they do.
fn refused(api: &Api, route: &Route, headers: &[(&str, &str)]) -> Option<String> {
    let told = problem(&ask(api, route.method, &target(route), headers));
    let of_the_rules =
        ["foreign-host", "foreign-origin", "token-in-url", "no-token", "wrong-token", "read-only", "control-is-off"];
    of_the_rules.contains(&&*told).then_some(told)
}

#[test]
fn each_route_is_for_those_who_have_its_token() {
    let both = monitor([Some(READ), Some(CONTROL)]);
    let (none, read, control) = (monitor([None, None]), monitor([Some(READ), None]), monitor([None, Some(CONTROL)]));
    let (reader, controller, nobody) = (bearer(READ), bearer(CONTROL), bearer(WRONG));
    let (reader, controller) = ([("Authorization", &*reader)], [("authorization", &*controller)]);
    let nobody = [("Authorization", &*nobody)];
    for route in ROUTES {
        let told = |api: &Api, headers: &[(&str, &str)]| refused(api, route, headers).unwrap_or_default();
        let by_access = |free: &'static str, read: &'static str, control: &'static str| match route.access {
            Access::Free => free,
            Access::Read => read,
            Access::Control => control,
        };
        for api in [&both, &read, &control] {
            assert_eq!(told(api, &[]), by_access("", "no-token", "no-token"), "{}", route.name);
            assert_eq!(told(api, &nobody), by_access("", "wrong-token", "wrong-token"), "{}", route.name);
        }
        assert_eq!(told(&both, &reader), by_access("", "", "read-only"), "{}", route.name);
        assert_eq!(told(&both, &controller), "", "{}", route.name);
        assert_eq!(told(&read, &reader), by_access("", "", "control-is-off"), "{}", route.name);
        assert_eq!(told(&control, &controller), "", "{}", route.name);
        assert_eq!(told(&control, &reader), by_access("", "wrong-token", "wrong-token"), "{}", route.name);
        for headers in [&[][..], &nobody] {
            assert_eq!(told(&none, headers), by_access("", "", "control-is-off"), "{}", route.name);
        }
    }
    let access = |access| ROUTES.iter().filter(|route| route.access == access).count();
    assert!(access(Access::Free) > 1 && access(Access::Read) > 1 && access(Access::Control) > 1);
}

#[test]
fn a_token_is_the_whole_token_and_nothing_else() {
    let api = monitor([Some(READ), Some(CONTROL)]);
    let status = |value: &str| ask(&api, "GET", "/api/v1/events", &[("Authorization", value)]).status();
    for right in [bearer(READ), format!("bearer {READ}"), format!("BEARER   {READ} ")] {
        assert_eq!(status(&right), 200, "{right}");
    }
    let shorter = &READ[..READ.len() - 1];
    for wrong in [
        bearer(shorter),
        bearer(&format!("{READ}x")),
        bearer(""),
        "Bearer".into(),
        READ.into(),
        format!("Basic {READ}"),
        bearer(&READ.to_uppercase()),
        bearer(&format!("{READ},{CONTROL}")),
    ] {
        assert_eq!(status(&wrong), 401, "{wrong}");
    }
    let challenge = ask(&api, "GET", "/api/v1/events", &[]).encode();
    assert!(String::from_utf8_lossy(&challenge).contains("WWW-Authenticate: Bearer realm="));
}

#[test]
fn no_route_answers_to_a_foreign_name() {
    let api = monitor([Some(READ), Some(CONTROL)]);
    let token = bearer(CONTROL);
    for route in ROUTES {
        for foreign in [
            "evil.example",
            "evil.example:9180",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.8",
            "0.0.0.0",
            "",
            "[::2]:9180",
            "monitor.example.evil",
            "localhost:x",
        ] {
            let headers = [("Authorization", &*token), ("Host", foreign)];
            assert_eq!(refused(&api, route, &headers).as_deref(), Some("foreign-host"), "{} {foreign}", route.name);
        }
        for own in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1",
            "[::1]:9180",
            "10.0.0.7:9180",
            "Monitor.Example",
            "monitor.example.:443",
        ] {
            let headers = [("Authorization", &*token), ("Host", own)];
            assert_eq!(refused(&api, route, &headers), None, "{} {own}", route.name);
        }
    }
    assert_eq!(ask(&api, "GET", "/livez", &[("Host", "evil.example")]).status(), 421);
}

#[test]
fn no_route_answers_to_a_foreign_page() {
    let api = monitor([Some(READ), Some(CONTROL)]);
    let token = bearer(CONTROL);
    for route in ROUTES {
        let told = |headers: &[(&str, &str)]| refused(&api, route, &[&[("Authorization", &*token)], headers].concat());
        let foreign: &[&[(&str, &str)]] = &[
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Sec-Fetch-Site", "")],
            &[("Sec-Fetch-Site", "cross-site"), ("Origin", "http://127.0.0.1:9180")],
            &[("Origin", "https://evil.example")],
            &[("Origin", "http://127.0.0.1:1")],
            &[("Origin", "http://127.0.0.1:9180.evil.example")],
            &[("Origin", "null")],
            &[("Origin", "")],
        ];
        for headers in foreign {
            assert_eq!(told(headers).as_deref(), Some("foreign-origin"), "{} {headers:?}", route.name);
        }
        let own: &[&[(&str, &str)]] = &[
            &[("Sec-Fetch-Site", "same-origin")],
            &[("Sec-Fetch-Site", "none")],
            &[("Origin", "http://127.0.0.1:9180")],
            &[("Origin", "https://Monitor.example"), ("Host", "monitor.example")],
        ];
        for headers in own {
            assert_eq!(told(headers), None, "{} {headers:?}", route.name);
        }
        // Whoever follows a link in a mail gets the page and nothing else.
        let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
        assert_eq!(told(&link).is_none(), route.path == "/", "{}", route.name);
        let frame = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")];
        assert!(told(&frame).is_some(), "{}", route.name);
    }
}

#[test]
fn no_route_takes_a_token_in_its_address() {
    let api = monitor([Some(READ), Some(CONTROL)]);
    for route in ROUTES {
        for query in ["token", "access_token", "Token", "limit=1&token"] {
            let page = ask(&api, route.method, &format!("{}?{query}={CONTROL}", target(route)), &[]);
            assert_eq!((page.status(), &*problem(&page)), (400, "token-in-url"), "{} {query}", route.name);
            assert!(!String::from_utf8_lossy(page.body()).contains("canary"), "{}", route.name);
        }
    }
}

#[test]
fn every_answer_says_what_browsers_must_not_do() {
    let api = monitor([None, None]);
    let targets = ROUTES.iter().map(|route| (route.method, target(route)));
    for (method, target) in targets.chain([("GET", "/nowhere".into()), ("BREW", "/livez".into())]) {
        let head = String::from_utf8_lossy(&ask(&api, method, &target, &[]).encode()).into_owned();
        for header in [
            "Content-Security-Policy: default-src 'none'; ",
            "; require-trusted-types-for 'script'; trusted-types 'none'\r\n",
            "X-Content-Type-Options: nosniff\r\n",
            "X-Frame-Options: DENY\r\n",
            "Referrer-Policy: no-referrer\r\n",
            "Cross-Origin-Resource-Policy: same-origin\r\n",
            "Cache-Control: no-store\r\n",
        ] {
            assert_eq!(head.matches(header).count(), 1, "{method} {target}: {head}");
        }
        for forbidden in ["Set-Cookie", "Access-Control"] {
            assert!(!head.contains(forbidden), "{method} {target}: {head}");
        }
    }
    let refusal = api.refusal(408, "the request took too long to arrive");
    assert!(String::from_utf8_lossy(&refusal.encode()).contains("nosniff") && problem(&refusal) == "too-slow");
}

#[test]
fn an_unknown_parameter_is_refused_by_every_route() {
    let api = monitor([None, Some(CONTROL)]);
    let token = bearer(CONTROL);
    for route in ROUTES {
        let page = ask(&api, route.method, &format!("{}?nonsense=1", target(route)), &[("Authorization", &token)]);
        assert_eq!((page.status(), &*problem(&page)), (400, "wrong-query"), "{}", route.name);
    }
}

// The description.

fn described() -> Value {
    serde_json::from_str(include_str!("openapi.json")).expect("it is JSON")
}

/// Method, path, name, who may ask and the parameters of the query, in one line.
fn line(method: &str, path: &str, name: &str, access: &str, query: BTreeSet<&str>) -> String {
    format!("{} {path} {name} {access} {query:?}", method.to_uppercase())
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let described = described();
    let mut lines = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().expect("a map") {
        for (method, operation) in methods.as_object().expect("a map") {
            let schemes = operation["security"].as_array().expect("it says who may ask");
            let access = match schemes.as_slice() {
                [] => "Free",
                [one] if one["control"].is_array() => "Control",
                [one, other] if one["read"].is_array() && other["control"].is_array() => "Read",
                other => panic!("{path}: {other:?}"),
            };
            let parameters = || operation["parameters"].as_array().into_iter().flatten();
            let named = |place: &str| {
                parameters().filter(|one| one["in"] == place).filter_map(|one| one["name"].as_str()).collect()
            };
            let in_path: BTreeSet<&str> = named("path");
            let braced: BTreeSet<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(in_path, braced, "{path}");
            let name = operation["operationId"].as_str().expect("a name");
            lines.insert(line(method, path, name, access, named("query")));
        }
    }
    let routes = ROUTES.iter().map(|route| {
        line(
            route.method,
            route.path,
            route.name,
            &format!("{:?}", route.access),
            route.query.iter().copied().collect(),
        )
    });
    assert_eq!(lines, routes.collect::<BTreeSet<_>>());
}

#[test]
fn every_route_stands_in_the_manual() {
    let page = include_str!("../docs/monitoring.md");
    for Route { method, path, query, access, .. } in ROUTES {
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let access = format!("{access:?}").to_lowercase().replace("free", "nothing");
        let row = format!("| `{method} {path}{query}` | {access} | ");
        assert!(page.contains(&row), "no row of monitoring.md starts with {row}");
    }
}

#[test]
fn every_reference_in_the_description_leads_somewhere_and_every_schema_is_used() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let described = described();
    let mut found = BTreeSet::new();
    references(&described, &mut found);
    for reference in &found {
        assert!(described.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let schemas = described["components"]["schemas"].as_object().expect("a map");
    let used = |name: &String| found.contains(&*format!("#/components/schemas/{name}"));
    assert_eq!(schemas.keys().filter(|name| !used(name)).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(schemas.len() > 5);
}
