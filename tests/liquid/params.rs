//! Parameters: types, defaults and limits of a pipeline's inputs.

use super::*;
use drip::liquid::ParameterType::{Float, Integer, Text};
use drip::liquid::RunState;
use serde_json::json;

const FORECAST: &str = r#"fn plan(site, days, scale) { `${site}: ${days} at ${scale}` }
pipeline([node(plan, ["site", "days", "scale"], "plan")], #{params: #{
    days: #{value: 30, min: 1, max: 365, help: "how far back"},
    scale: #{type: "float", value: 1},
    site: #{type: "text", choices: ["XJJX", "R80711"]},
}})"#;

fn refused(inputs: Value) -> Vec<(String, String)> {
    let liquid = open();
    save(&liquid, "forecast", FORECAST);
    let request = RunRequest::read(json!({ "inputs": inputs }).as_object().unwrap()).unwrap();
    let refused = liquid.start(&name("forecast"), request, &ada(), None).unwrap_err();
    assert_eq!(refused.kind().status(), 422, "{refused}");
    assert!(liquid.runs(&drip::liquid::RunFilter::default(), None, 10).unwrap().is_empty());
    refused.faults().iter().map(|f| (f.pointer.clone(), f.detail.clone())).collect()
}

#[test]
fn what_is_not_given_is_filled_in_and_kept_with_the_run() {
    let liquid = open();
    save(&liquid, "forecast", FORECAST);
    let run = finished(&liquid, "forecast", json!({"inputs": {"site": "XJJX"}}));
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(Value::Object(run.inputs), json!({"site": "XJJX", "days": 30, "scale": 1.0}));
    assert_eq!(Value::Object(run.outputs), json!({"plan": "XJJX: 30 at 1.0"}));
    let given = json!({"site": "R80711", "days": 365, "scale": 2});
    let run = finished(&liquid, "forecast", json!({ "inputs": given }));
    assert_eq!(Value::Object(run.outputs), json!({"plan": "R80711: 365 at 2.0"}));
}

#[test]
fn a_pipeline_shows_its_parameters_so_that_a_form_can_be_drawn() {
    let liquid = open();
    save(&liquid, "forecast", FORECAST);
    let shown = liquid.pipeline(&name("forecast"), None).unwrap().parameters;
    let kinds: Vec<_> = shown.iter().map(|p| (p.name.as_str(), p.kind)).collect();
    assert_eq!(kinds, [("days", Integer), ("scale", Float), ("site", Text)]);
    assert_eq!(
        serde_json::to_value(&shown[0]).unwrap(),
        json!({"name": "days", "type": "integer", "default": 30, "help": "how far back",
            "min": 1.0, "max": 365.0})
    );
    assert_eq!(shown[2].in_words(), r#"site: text, one of "XJJX", "R80711", to be given"#);
}

#[test]
fn every_value_that_does_not_fit_is_told_and_no_run_begins() {
    let said = refused(json!({"site": "XJJY", "days": "30", "scale": true, "more": 1}));
    let said: Vec<_> = said.iter().map(|(at, why)| (at.as_str(), why.as_str())).collect();
    assert_eq!(
        said,
        [
            ("/inputs/days", "is of type text, and has to be of type integer"),
            ("/inputs/scale", "is of type boolean, and has to be of type float"),
            ("/inputs/site", r#"is "XJJY", and has to be one of "XJJX", "R80711""#),
            ("/inputs/more", "is taken by no node"),
        ]
    );
    assert_eq!(refused(json!({"site": null}))[0].1, "is null, and has to be of type text");
    let said = refused(json!({"days": 0}));
    assert_eq!(said[0].1, "is 0, and has to be at least 1");
    assert!(said[1].1.contains("site") || said[1].0.contains("site"), "{said:?}");
    assert_eq!(
        refused(json!({"site": "XJJX", "days": 366}))[0].1,
        "is 366, and has to be at most 365"
    );
    assert_eq!(
        refused(json!({"site": "XJJX", "days": 1.5}))[0].1,
        "is of type float, and has to be of type integer"
    );
}

#[test]
fn every_fault_of_a_declaration_is_told() {
    let refused = open()
        .check(
            r#"fn f(a, b, c, d) { a }
pipeline([node(f, ["a", "b", "c", "d"], "out")], #{params: #{
    a: #{type: "integr", hlep: "?"}, b: #{value: "x", min: 1}, c: #{min: 3, max: 2, type: "float"},
    d: #{"default": 5, choices: [1, 2]}, dd: 1,
}})"#,
        )
        .unwrap_err();
    let said: Vec<_> = refused.faults().iter().map(|fault| fault.detail.as_str()).collect();
    let has =
        |text: &str| assert!(said.iter().any(|fault| fault.contains(text)), "{text}: {said:#?}");
    has(
        "the parameter `a`: its `type` is one of any, integer, float, text, boolean, list, map: did you mean `integer`?",
    );
    has("did you mean `help`?");
    has("the parameter `b`: only numbers have a `min` and a `max`");
    has("the parameter `c`: its `min` 3 is greater than its `max` 2");
    has("the parameter `d`: its default is 5, and has to be one of 1, 2");
    let unknown =
        open().check("fn f(a) { a }\npipeline([node(f, \"days\", \"out\")], #{params: #{day: 1}})");
    let unknown = unknown.unwrap_err();
    assert_eq!(
        unknown.faults()[0].detail,
        "the parameter `day` is no input of the pipeline: did you mean `days`?"
    );
}

#[test]
fn a_part_of_a_pipeline_and_a_later_default_take_nothing_they_do_not_need() {
    let liquid = open();
    let source = r#"fn one(a) { a + 1 } fn two(b, k) { b * k }
pipeline([node(one, "a", "b"), node(two, ["b", "k"], "c")], #{params: #{a: 1, k: 10}})"#;
    save(&liquid, "two", source);
    let run = finished(&liquid, "two", json!({"to": ["one"]}));
    assert_eq!(Value::Object(run.inputs), json!({"a": 1}), "{:?}", run.error);
    let whole = finished(&liquid, "two", json!({}));
    assert_eq!(Value::Object(whole.outputs), json!({"c": 20}));
    save(&liquid, "two", &source.replace("k: 10", "k: 100"));
    assert_eq!(liquid.run(&whole.id).unwrap().inputs["k"], 10);
}
