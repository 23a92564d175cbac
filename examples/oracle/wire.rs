//! A parsed scenario as one line of JSON, for the Node script.

use super::scenario::{Action, Handler, Scenario, When};
use super::words::quote;

/// The handlers of a scenario, and a line end.
pub fn to_json(scenario: &Scenario) -> String {
    let handlers: Vec<String> = scenario.handlers.iter().map(handler).collect();
    format!("{{\"handlers\":[{}]}}\n", handlers.join(","))
}

fn handler(handler: &Handler) -> String {
    let when = match handler.when {
        When::Always => String::new(),
        When::Nth(nth) => format!("\"nth\":{nth},"),
        When::Bytes(bytes) => format!("\"bytes\":{bytes},"),
    };
    let actions: Vec<String> = handler.actions.iter().map(action).collect();
    format!(
        "{{\"object\":{},\"event\":{},{when}\"actions\":[{}]}}",
        quote(&handler.object),
        quote(&handler.event),
        actions.join(",")
    )
}

fn action(action: &Action) -> String {
    let words: Vec<String> = action.words.iter().map(|word| quote(word)).collect();
    let options = action.options.iter();
    let options: Vec<String> = options
        .map(|(key, value)| format!("{}:{}", quote(key), quote(value)))
        .collect();
    format!(
        "{{\"line\":{},\"kind\":{},\"object\":{},\"verb\":{},\"words\":[{}],\"options\":{{{}}}}}",
        action.line,
        quote(action.kind.name()),
        quote(&action.object),
        quote(&action.verb),
        words.join(","),
        options.join(",")
    )
}
