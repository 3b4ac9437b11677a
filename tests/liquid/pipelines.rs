//! Pipelines: what a script may say, what is refused, and what it computes.

use super::*;
use drip::liquid::RunState;
use serde_json::json;

#[test]
fn the_readme_pipeline_makes_78_one_after_the_other_and_in_parallel() {
    let liquid = open();
    save(&liquid, "readme", README);
    for runner in ["sequential", "parallel"] {
        let inputs = json!({"a": 5, "b": 6, "d": 7});
        let run = finished(&liquid, "readme", json!({"inputs": inputs, "runner": runner}));
        assert_eq!(run.state, RunState::Succeeded, "{run:?}");
        assert_eq!(Value::Object(run.outputs), json!({"f": 78}));
        let nodes: Vec<_> = run.nodes.iter().map(|node| (node.name.as_str(), node.tries)).collect();
        assert_eq!(nodes, [("firstfunc", 1), ("secondfunc", 1), ("thirdfunc", 1)]);
    }
}

#[test]
fn a_saved_pipeline_says_what_it_takes_and_makes() {
    let liquid = open();
    let save =
        |source: &str, expected| liquid.save_pipeline(&name("readme"), source, &ada(), expected);
    let (saved, new) = save(README, Expected::default()).unwrap();
    assert_eq!((saved.revision, new), (1, true));
    assert_eq!(
        (&saved.inputs[..], &saved.outputs[..]),
        (&["a", "b", "d"].map(String::from)[..], &["f".to_owned()][..])
    );
    let (same, new) = save(README, Expected::default()).unwrap();
    assert_eq!((same.revision, new), (1, false));
    let longer = format!("{README} + pipeline([node(third, \"f\", \"g\", \"fourth\")])");
    let (next, new) = save(&longer, Expected { revision: Some(1), create_only: false }).unwrap();
    assert_eq!((next.revision, new, &next.outputs[..]), (2, false, &["g".to_owned()][..]));
    let stale = save(README, Expected { revision: Some(1), create_only: false }).unwrap_err();
    assert_eq!(stale.kind().status(), 412);
    let there = save(README, Expected { revision: None, create_only: true }).unwrap_err();
    assert_eq!(there.kind().status(), 412);
    let first = liquid.pipeline(&name("readme"), Some(1)).unwrap();
    assert_eq!(first.source.as_deref(), Some(README));
    liquid.delete_pipeline(&name("readme"), &ada()).unwrap();
    assert_eq!(liquid.pipeline(&name("readme"), None).unwrap_err().code(), "pipeline_not_found");
    assert_eq!(save(README, Expected::default()).unwrap().0.revision, 3);
}

#[test]
fn a_script_that_does_not_parse_is_refused_with_line_and_column() {
    let refused = open().check("fn first(a) { a + }\npipeline([])").unwrap_err();
    assert_eq!(refused.kind().status(), 422);
    assert_eq!(refused.faults()[0].pointer, "line 1, column 19", "{refused}");
}

#[test]
fn every_fault_of_a_pipeline_is_told_with_its_line() {
    let refused = open()
        .check(
            r#"fn one(a) { a }
pipeline([
    node(one, ["a", "b"], "x", "n"),
    node(Fn("two"), "a", "x", "n"),
    node(one, 5, "y", "m", #{retrie: 1}),
    node(one, "p", "q", "u"),
    node(one, "q", "p", "v"),
])"#,
        )
        .unwrap_err();
    let said = refused.to_string();
    for part in [
        "line 3: `one` takes 1 value and `n` gives it 2",
        "line 4: the function `two` of `n` does not exist",
        "line 4: two nodes are named `n`",
        "line 4: `x` is made by",
        "line 5: `m`: its inputs hold a i64",
        "line 5: `m`: it has the option `retrie`, which is none: did you mean `retries`?",
        "line 6: the nodes wait for each other: `u` → `v` → `u`",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
}

#[test]
fn a_bare_name_that_is_no_function_is_told_with_its_place_and_a_suggestion() {
    let refused =
        open().check("fn first(a) { a }\npipeline([node(frist, \"a\", \"b\")])").unwrap_err();
    assert!(refused.detail().contains("`frist`: did you mean `first`?"), "{refused}");
    assert!(refused.faults()[0].pointer.starts_with("line 2"), "{refused}");
}

#[test]
fn a_script_that_is_no_pipeline_or_asks_for_more_than_there_is_says_so() {
    let liquid = open();
    for (source, part) in [
        ("", "ends in nothing"),
        ("42", "`i64`"),
        ("fn f(a) { a } node(f, \"a\", \"b\")", "ends in"),
        ("pipeline([])", "no node"),
        ("pipeline([1])", "part 1 of the pipeline is a i64"),
        ("pipeline([node(sql(\"select 1\"), [], \"a\")])", "sql"),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\", #{kind: 1})])", "which is none"),
        (
            "fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\", #{cache: -1})])",
            "`cache` is true, a time",
        ),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\", #{jitter: 2})])", "from 0 to 1"),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\", #{concurrency: 7})])", "a word"),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\")], 7)", "are a map"),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\")], #{resume: 1})", "true or false"),
        ("fn f(a) { a } pipeline([node(f, \"a\", \"b\", \"n\")], #{retry: 1})", "no option"),
        ("fn f(a) { a } let x = 1; pipeline([node(|a| a + x, \"a\", \"b\", \"n\")])", "captures"),
        ("pipeline([node(|a| a, \"a\", \"b\")])", "closure has no name"),
        ("fiche::save(1); pipeline([])", "fiche"),
    ] {
        let refused = liquid.check(source).unwrap_err();
        assert_eq!(refused.kind().status(), 422, "{source}: {refused}");
        assert!(refused.to_string().contains(part), "{source}: {refused}");
    }
}

// The defects of the original's pipelines, each as it should be.

#[test]
fn an_output_may_be_named_result() {
    let source = r#"fn f(a) { a * 2 } pipeline([node(f, "a", "result", "n")])"#;
    let run = run_script(&open(), source, json!({"inputs": {"a": 21}}));
    assert_eq!(run.outputs["result"], json!(42));
}

#[test]
fn a_node_may_make_two_values_by_place_or_by_name() {
    let source = r#"
fn pair(a) { [a + 1, a - 1] }
fn named(a) { #{low: a - 1, high: a + 1} }
fn add(x, y) { x + y }
pipeline([
    node(pair, "a", ["up", "down"], "pair"),
    node(named, "a", ["low", "high"], "named"),
    node(named, "a", #{high: "top"}, "renamed"),
    node(add, ["up", "down"], "sum", "add"),
])"#;
    let run = run_script(&open(), source, json!({"inputs": {"a": 10}, "outputs": ["up"]}));
    let expected = json!({"low": 9, "high": 11, "top": 11, "sum": 20, "up": 11});
    assert_eq!(Value::Object(run.outputs), expected);
}

#[test]
fn an_order_given_wrong_runs_right() {
    let source = r#"
fn inc(x) { x + 1 }
pipeline([node(inc, "c", "d", "third"), node(inc, "b", "c", "second"), node(inc, "a", "b", "first")])"#;
    let run = run_script(&open(), source, json!({"inputs": {"a": 0}}));
    let order: Vec<_> = run.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(order, ["first", "second", "third"]);
    assert_eq!(run.outputs["d"], json!(3));
}

#[test]
fn an_input_may_be_used_twice_and_by_several_nodes() {
    let source = r#"
fn mul(x, y) { x * y }
fn grow(list) { list.push(1); list.len() }
pipeline([
    node(mul, ["a", "a"], "square", "square"), node(mul, ["a", "square"], "cube", "cube"),
    node(grow, "list", "one", "push one"), node(grow, "list", "other", "push other"),
])"#;
    let run = run_script(&open(), source, json!({"inputs": {"a": 3, "list": []}}));
    // A node that changes what it was given changes a copy of its own.
    assert_eq!(run.error, None);
    assert_eq!(Value::Object(run.outputs), json!({"cube": 27, "one": 1, "other": 1}));
}

#[test]
fn inputs_may_be_given_by_the_name_of_the_parameter() {
    let source = r#"
fn sub(from, what) { from - what }
pipeline([node(sub, #{what: "small", from: "large"}, "rest", "sub")])"#;
    let run = run_script(&open(), source, json!({"inputs": {"small": 1, "large": 10}}));
    assert_eq!(run.outputs["rest"], json!(9));
}

#[test]
fn pipelines_compose_and_closures_work() {
    let source = r#"
fn inc(x) { x + 1 }
let one = pipeline([node(inc, "a", "b", "one")]);
let two = pipeline([node(|x, y| x * y, ["b", "b"], "c", "two", #{tags: "late"})]);
one + two"#;
    let liquid = open();
    let run = run_script(&liquid, source, json!({"inputs": {"a": 2}}));
    assert_eq!(run.outputs["c"], json!(9));
    let late = finished(&liquid, "script", json!({"inputs": {"b": 5}, "tags": ["late"]}));
    assert_eq!((late.nodes.len(), &late.outputs["c"]), (1, &json!(25)));
}

#[test]
fn the_graph_shows_nodes_and_values_on_their_way() {
    let liquid = open();
    save(&liquid, "readme", README);
    let graph = serde_json::to_value(liquid.graph(&name("readme")).unwrap()).unwrap();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 3);
    let edges = graph["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 6, "{edges:?}");
    assert!(edges.contains(&json!({"from": "firstfunc", "to": "secondfunc", "value": "c"})));
    assert!(edges.contains(&json!({"from": null, "to": "firstfunc", "value": "a"})));
}

#[test]
fn pipelines_are_listed_by_name_in_pages() {
    let liquid = open();
    for pipeline in ["b", "c", "a"] {
        save(&liquid, pipeline, README);
    }
    let names = |after: Option<&str>| -> Vec<String> {
        let page = liquid.pipelines(after, 2).unwrap();
        page.into_iter().map(|pipeline| pipeline.name).collect()
    };
    assert_eq!(names(None), ["a", "b"]);
    assert_eq!(names(Some("b")), ["c"]);
}
