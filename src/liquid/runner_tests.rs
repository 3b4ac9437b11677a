use super::*;
use crate::liquid::node::{Inputs, Node, Signature};
use proptest::prelude::*;
use std::sync::atomic::AtomicUsize;

fn node(name: String, inputs: Vec<String>, outputs: Outputs, retries: u32) -> Node {
    Node {
        function: format!("f{}", inputs.len()),
        inputs: Inputs::InOrder(inputs),
        outputs,
        name,
        retries,
        ..Node::default()
    }
}

fn plan(nodes: Vec<Node>) -> Plan {
    let functions: Vec<Signature> = (0..=8)
        .map(|n| Signature {
            name: format!("f{n}"),
            params: (0..n).map(|p| format!("p{p}")).collect(),
        })
        .collect();
    Plan::of(nodes, &functions).unwrap()
}

/// Each node makes the sum of what it takes, and one more.
#[expect(clippy::unnecessary_wraps, reason = "it stands for a call, which can fail")]
fn sum(_step: &Step, arguments: Vec<Dynamic>) -> Result<Made> {
    let all: i64 = arguments.iter().map(|value| value.as_int().unwrap()).sum();
    Ok(Made::Returned(Dynamic::from_int((all + 1) % 1_000_003)))
}

fn run(
    plan: &Plan,
    width: usize,
    work: &Work<'_>,
) -> std::result::Result<HashMap<String, i64>, Ended> {
    let stopper = Stopper::default();
    let job = Job {
        plan,
        width,
        stack: 1 << 20,
        done: HashSet::new(),
        keep: plan.outputs.iter().cloned().collect(),
        stopper: &stopper,
        work,
        tell: &|_, _| true,
    };
    let inputs = (1_i64..).zip(&plan.inputs);
    let kept = job.run(inputs.map(|(n, name)| (name.clone(), Dynamic::from_int(n))).collect())?;
    Ok(kept.into_iter().map(|(name, value)| (name, value.as_int().unwrap())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn parallel_equals_sequential(
        picks in prop::collection::vec(prop::collection::vec(0_usize..1000, 0..4), 1..25),
        turns in 0_usize..25,
        width in 2_usize..6,
    ) {
        // Node n takes values of earlier nodes, or of the two inputs; declared in any order.
        let name = |n: usize| if n < 2 { format!("in{n}") } else { format!("v{}", n - 2) };
        let mut nodes: Vec<Node> = picks
            .iter()
            .enumerate()
            .map(|(n, picks)| {
                let inputs = picks.iter().map(|pick| name(pick % (n + 2))).collect();
                node(format!("n{n}"), inputs, Outputs::Whole(Some(format!("v{n}"))), 0)
            })
            .collect();
        let turns = turns % nodes.len();
        nodes.rotate_left(turns);
        let plan = plan(nodes);
        let one = run(&plan, 1, &sum).unwrap();
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let counted = |step: &Step, arguments: Vec<Dynamic>| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let made = sum(step, arguments);
            std::thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            made
        };
        let many = run(&plan, width, &counted).unwrap();
        prop_assert_eq!(one, many);
        prop_assert!(most.load(Ordering::SeqCst) <= width);
    }
}

#[test]
fn two_nodes_of_a_parallel_run_do_run_at_the_same_time() {
    let leaf = |n: usize| node(format!("n{n}"), vec![], Outputs::Whole(Some(format!("v{n}"))), 0);
    let plan = plan(vec![leaf(0), leaf(1)]);
    // Each waits for the other: one after the other they would never end.
    let both = std::sync::Barrier::new(2);
    let meet = |_: &Step, _: Vec<Dynamic>| {
        both.wait();
        Ok(Made::Returned(Dynamic::from_int(1)))
    };
    assert_eq!(run(&plan, 2, &meet).unwrap().len(), 2);
}

#[test]
fn a_node_is_tried_again_as_often_as_it_may_be() {
    let plan = plan(vec![node("n".into(), vec![], Outputs::Whole(Some("v".into())), 1)]);
    let tries = AtomicUsize::new(0);
    let second = |_: &Step, _: Vec<Dynamic>| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Error::internal("not yet")),
        _ => Ok(Made::Returned(Dynamic::from_int(7))),
    };
    assert_eq!(run(&plan, 1, &second).unwrap()["v"], 7);
    let never = |_: &Step, _: Vec<Dynamic>| {
        tries.fetch_add(1, Ordering::SeqCst);
        Err(Error::internal("never"))
    };
    let before = tries.load(Ordering::SeqCst);
    let Err(Ended::Failed { node, .. }) = run(&plan, 1, &never) else { panic!("it failed") };
    assert_eq!((node.as_deref(), tries.load(Ordering::SeqCst) - before), (Some("n"), 2));
}

#[test]
fn nothing_begins_after_a_failure() {
    let chain = |n: usize, input: &[&str]| {
        let inputs = input.iter().map(|i| (*i).to_owned()).collect();
        node(format!("n{n}"), inputs, Outputs::Whole(Some(format!("v{n}"))), 0)
    };
    let plan = plan(vec![chain(0, &[]), chain(1, &["v0"]), chain(2, &["v1"])]);
    let begun = AtomicUsize::new(0);
    let fail = |step: &Step, _: Vec<Dynamic>| {
        begun.fetch_add(1, Ordering::SeqCst);
        if step.node.name == "n1" {
            Err(Error::internal("no"))
        } else {
            Ok(Made::Returned(Dynamic::UNIT))
        }
    };
    for width in [1, 3] {
        begun.store(0, Ordering::SeqCst);
        assert!(run(&plan, width, &fail).is_err());
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn what_a_function_returned_is_shared_out_by_place_or_by_name() {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let array = || Dynamic::from_array(vec![1_i64.into(), 2_i64.into()]);
    let map = || {
        let mut map = Map::new();
        map.insert("a".into(), 1_i64.into());
        map.insert("b".into(), 2_i64.into());
        Dynamic::from_map(map)
    };
    let several = Outputs::Several(names(&["b", "a"]));
    let shared = |outputs: &Outputs, value: Dynamic| {
        let made = share_out("n", outputs, value)?;
        Ok::<_, Error>(made.into_iter().map(|(n, v)| (n, v.as_int().unwrap())).collect::<Vec<_>>())
    };
    assert_eq!(shared(&several, array()).unwrap(), [("b".into(), 1), ("a".into(), 2)]);
    assert_eq!(shared(&several, map()).unwrap(), [("b".into(), 2), ("a".into(), 1)]);
    let renamed = Outputs::ByField(vec![("b".into(), "x".into())]);
    assert_eq!(shared(&renamed, map()).unwrap(), [("x".into(), 2)]);
    for (outputs, value, word) in [
        (Outputs::Several(names(&["a", "b", "c"])), array(), "3 outputs"),
        (Outputs::Several(names(&["a", "z"])), map(), "`z`"),
        (several, 5_i64.into(), "i64"),
        (renamed, array(), "array"),
    ] {
        let refused = shared(&outputs, value).unwrap_err();
        assert_eq!(refused.code(), "bad_output");
        assert!(refused.detail().contains(word), "{refused}");
    }
}

#[test]
fn what_is_done_does_not_run_again() {
    let chain = |n: usize, input: &[&str]| {
        let inputs = input.iter().map(|i| (*i).to_owned()).collect();
        node(format!("n{n}"), inputs, Outputs::Whole(Some(format!("v{n}"))), 0)
    };
    let plan = plan(vec![chain(0, &[]), chain(1, &["v0"]), chain(2, &["v0", "v1"])]);
    let begun = Mutex::new(Vec::new());
    let work = |step: &Step, arguments: Vec<Dynamic>| {
        begun.lock().unwrap().push(step.node.name.clone());
        sum(step, arguments)
    };
    for (done, given, expected) in [
        (vec![0], vec![("v0", 10)], vec!["n1", "n2"]),
        (vec![0, 1], vec![("v0", 10), ("v1", 11)], vec!["n2"]),
        (vec![0, 1, 2], vec![("v2", 22)], vec![]),
    ] {
        begun.lock().unwrap().clear();
        let stopper = Stopper::default();
        let job = Job {
            plan: &plan,
            width: 2,
            stack: 1 << 20,
            done: done.into_iter().collect(),
            keep: HashSet::from(["v2".to_owned()]),
            stopper: &stopper,
            work: &work,
            tell: &|_, _| true,
        };
        let given = given.into_iter().map(|(name, n)| (name.to_owned(), Dynamic::from_int(n)));
        let kept = job.run(given.collect()).unwrap();
        assert_eq!(kept["v2"].as_int().unwrap(), 22);
        assert_eq!(*begun.lock().unwrap(), expected);
    }
}
