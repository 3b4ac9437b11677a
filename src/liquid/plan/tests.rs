use super::*;
use crate::liquid::node::{Inputs, Outputs};

fn node(name: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Node {
        name: name.into(),
        function: format!("f{}", inputs.len()),
        inputs: Inputs::InOrder(owned(inputs)),
        outputs: match outputs {
            [] => Outputs::Whole(None),
            [one] => Outputs::Whole(Some((*one).into())),
            more => Outputs::Several(owned(more)),
        },
        ..Node::default()
    }
}

fn functions() -> Vec<Signature> {
    let of = |count: usize| Signature {
        name: format!("f{count}"),
        params: (0..count).map(|n| format!("p{n}")).collect(),
    };
    (0..4).map(of).collect()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.node.name.as_str()).collect()
}

fn plan(nodes: Vec<Node>) -> Plan {
    Plan::of(nodes, &functions()).unwrap()
}

fn faults(nodes: Vec<Node>) -> Vec<String> {
    let faults = Plan::of(nodes, &functions()).unwrap_err();
    faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
}

#[test]
fn an_order_given_wrong_is_put_right() {
    let plan = plan(vec![
        node("third", &["e"], &["f"]),
        node("second", &["c", "d"], &["e"]),
        node("first", &["a", "b"], &["c"]),
    ]);
    assert_eq!(names(&plan), ["first", "second", "third"]);
    assert_eq!(plan.inputs, ["a", "b", "d"]);
    assert_eq!(plan.outputs, ["f"]);
    assert_eq!(plan.steps[1].needs, [0]);
    assert_eq!(plan.steps[1].feeds, [2]);
}

#[test]
fn nodes_that_need_nothing_of_each_other_stay_as_declared() {
    let plan = plan(vec![node("b", &["x"], &["y"]), node("a", &["x"], &["z"])]);
    assert_eq!(names(&plan), ["b", "a"]);
    assert_eq!(plan.inputs, ["x"]);
}

#[test]
fn every_fault_is_told_at_once() {
    let mut wrong = node("late", &["a"], &["b"]);
    wrong.line = Some(7);
    wrong.function = "f11".into();
    let mut arity = node("arity", &["a"], &["z"]);
    arity.function = "f3".into();
    let said = faults(vec![
        node("one", &["a"], &["b"]),
        wrong,
        node("one", &["a"], &["c", "c"]),
        arity,
        node("x", &["q"], &["p"]),
        node("y", &["p"], &["q"]),
    ])
    .join("\n");
    for part in [
        "line 7: the function `f11` of `late` does not exist: did you mean `f1`?",
        "`b` is made by `one` and by `late`",
        "two nodes are named `one`",
        "`one` makes `c` twice",
        "`f3` takes 3 values and `arity` gives it 1",
        "wait for each other",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
}

#[test]
fn each_cycle_is_named_in_the_direction_of_its_values() {
    let said = faults(vec![
        node("a", &["3"], &["1"]),
        node("b", &["1"], &["2"]),
        node("c", &["2"], &["3"]),
        node("self", &["s"], &["s"]),
        node("after", &["3"], &["x"]),
    ]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("`a` → `b` → `c` → `a`"), "{said:?}");
    assert!(said[1].contains("`self` → `self`"), "{said:?}");
}

#[test]
fn names_that_are_empty_or_cannot_be_shown_are_refused() {
    let long = "x".repeat(300);
    let said = faults(vec![node("", &["a\n"], &[&long])]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(faults(vec![])[0].contains("no node"));
}

#[test]
fn values_by_name_go_to_the_parameter_that_is_named() {
    let mut renamed = node("r", &[], &["out"]);
    renamed.function = "f2".into();
    renamed.inputs = Inputs::ByName(vec![("p1".into(), "x".into()), ("p0".into(), "y".into())]);
    let plan = plan(vec![renamed.clone()]);
    assert_eq!(plan.steps[0].arguments, ["y", "x"]);
    renamed.inputs = Inputs::ByName(vec![("p1".into(), "x".into()), ("q".into(), "y".into())]);
    assert!(faults(vec![renamed])[0].contains("no parameter `q`: it takes p0, p1"));
}

fn diamond() -> Plan {
    let mut left = node("left", &["b"], &["c"]);
    left.tags = vec!["fast".into()];
    plan(vec![
        node("top", &["a"], &["b"]),
        left,
        node("right", &["b"], &["d"]),
        node("end", &["c", "d"], &["e"]),
    ])
}

#[test]
fn a_slice_holds_what_comes_after_before_or_between() {
    let part = |from: &[&str], to: &[&str], tags: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        diamond().slice(&Slice { from: owned(from), to: owned(to), tags: owned(tags) })
    };
    let from = part(&["left"], &[], &[]).unwrap();
    assert_eq!(
        (names(&from), &from.inputs[..]),
        (vec!["left", "end"], &["b".to_owned(), "d".to_owned()][..])
    );
    let to = part(&[], &["left"], &[]).unwrap();
    assert_eq!((names(&to), &to.outputs[..]), (vec!["top", "left"], &["c".to_owned()][..]));
    assert_eq!(names(&part(&["top"], &["right"], &[]).unwrap()), ["top", "right"]);
    assert_eq!(names(&part(&[], &[], &["fast"]).unwrap()), ["left"]);
    assert!(part(&["left"], &["right"], &[]).is_err());
    let wrong = part(&["lift"], &["nowhere at all"], &["slow"]).unwrap_err();
    assert_eq!(wrong.len(), 3);
    assert!(wrong[0].detail.contains("did you mean `left`?"), "{wrong:?}");
}

#[test]
fn edges_lead_from_inputs_to_outputs() {
    let edges = diamond().edges();
    assert_eq!(edges.len(), 6);
    assert_eq!(edges[0], Edge { from: None, to: Some("top".into()), value: "a".into() });
    assert_eq!(edges[5], Edge { from: Some("end".into()), to: None, value: "e".into() });
}
