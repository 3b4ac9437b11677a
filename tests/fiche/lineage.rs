//! What is made from what.

use serde_json::{Value, json};

use super::{Api, ok, save};

fn edges(lineage: &Value) -> Vec<(String, String, String, bool)> {
    let text = |edge: &Value, field: &str| edge[field].as_str().unwrap().to_owned();
    let edges = lineage["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| {
            (
                text(edge, "from"),
                text(edge, "to"),
                text(edge, "field"),
                edge["missing"].as_bool().unwrap(),
            )
        })
        .collect()
}

fn edge(from: &str, to: &str, field: &str, missing: bool) -> (String, String, String, bool) {
    (from.into(), to.into(), field.into(), missing)
}

fn names(lineage: &Value) -> Vec<String> {
    let nodes = lineage["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
}

fn story() -> Api {
    let api = Api::new();
    for card in [
        json!({"kind": "dataset", "name": "scada", "version": "2014", "requiredby": "parameter:curve@1"}),
        json!({"kind": "algorithm", "name": "power-curve", "version": "1.0.0", "requires": "numpy"}),
        json!({"kind": "parameter", "name": "curve", "version": "1", "requiredby": ["wind-power@1.2.0", "gone@1"]}),
        json!({"kind": "model", "name": "wind-power", "version": "1.2.0", "data": "scada@2014",
               "algorithm": "power-curve", "requires": ["parameter:curve@1", "lost@2"]}),
        json!({"kind": "application", "name": "desk", "version": "3", "requires": "wind-power"}),
    ] {
        save(&api.fiche, card).unwrap();
    }
    api
}

#[tokio::test]
async fn a_lineage_leads_up_and_down_with_its_missing_ends() {
    let api = story();
    let up = ok(api.get("/cards/model/wind-power/1.2.0/lineage?direction=up").await);
    let model = "model:wind-power@1.2.0";
    let curve = "parameter:curve@1";
    let algorithm = "algorithm:power-curve@1.0.0";
    assert_eq!(
        edges(&up),
        [
            edge(algorithm, "numpy", "requires", true),
            edge(model, algorithm, "algorithm", false),
            edge(model, "dataset:scada@2014", "data", false),
            edge(model, "lost@2", "requires", true),
            edge(model, curve, "requires", false),
            edge(curve, "dataset:scada@2014", "requiredby", false),
        ]
    );
    assert_eq!(
        up["nodes"][0],
        json!({"kind": "model", "name": "wind-power", "version": "1.2.0", "stage": "experiment"})
    );
    let down = ok(api.get("/cards/dataset/scada/2014/lineage?direction=down").await);
    assert_eq!(names(&down), ["scada", "curve", "wind-power", "desk"]);
    assert!(edges(&down).contains(&edge("gone@1", curve, "requiredby", true)));
    assert!(edges(&down).contains(&edge("application:desk@3", model, "requires", false)));
    let near = ok(api.get("/cards/dataset/scada/2014/lineage?direction=down&depth=1").await);
    assert_eq!(names(&near), ["scada", "curve", "wind-power"]);
    assert_eq!(names(&ok(api.get("/cards/dataset/scada/2014/lineage?depth=0").await)), ["scada"]);
    let both = ok(api.get("/cards/parameter/curve/1/lineage").await);
    assert_eq!(names(&both), ["curve", "scada", "wind-power", "desk"]);
    api.get("/cards/model/wind-power/1.2.0/lineage?direction=sideways")
        .await
        .problem(422, "bad_direction");
    api.get("/cards/model/none/1/lineage").await.problem(404, "card_not_found");
}

#[tokio::test]
async fn a_lineage_follows_what_is_saved_and_deleted() {
    let api = story();
    let down = "/cards/algorithm/power-curve/1.0.0/lineage?direction=down";
    assert_eq!(names(&ok(api.get(down).await)), ["power-curve", "wind-power", "desk"]);
    // A newer version is what a reference without a version means.
    save(&api.fiche, json!({"kind": "algorithm", "name": "power-curve", "version": "1.1.0"}))
        .unwrap();
    assert_eq!(names(&ok(api.get(down).await)), ["power-curve"]);
    save(&api.fiche, json!({"kind": "model", "name": "wind-power", "version": "1.2.0", "algorithm": "power-curve@1.0.0"})).unwrap();
    assert_eq!(names(&ok(api.get(down).await)), ["power-curve", "wind-power", "desk"]);
    api.send("DELETE", "/cards/model/wind-power/1.2.0", &[], "").await;
    assert_eq!(names(&ok(api.get(down).await)), ["power-curve"]);
    let desk = ok(api.get("/cards/application/desk/3/lineage").await);
    assert_eq!(edges(&desk), [edge("application:desk@3", "wind-power", "requires", true)]);
}

#[tokio::test]
async fn circles_end() {
    let api = Api::new();
    for (name, requires) in [("a", "b@1,a@1"), ("b", "c@1"), ("c", "a@1")] {
        save(
            &api.fiche,
            json!({"kind": "algorithm", "name": name, "version": "1", "requires": requires}),
        )
        .unwrap();
    }
    let all = ok(api.get("/cards/algorithm/a/1/lineage").await);
    assert_eq!(names(&all), ["a", "b", "c"]);
    assert_eq!(edges(&all).len(), 4);
}

#[tokio::test]
async fn every_form_of_a_reference_leads_to_its_card() {
    let api = Api::new();
    save(&api.fiche, json!({"kind": "dataset", "name": "scada", "version": "2013"})).unwrap();
    save(&api.fiche, json!({"kind": "dataset", "name": "scada", "version": "2014"})).unwrap();
    let scada = "dataset:scada@2014";
    for (at, data) in [
        json!("dataset:scada@2014"),
        json!("scada@2014"),
        json!("scada"),
        json!("scada@latest"),
        json!("dataset:scada"),
        json!(["dataset:scada@latest"]),
        json!(" scada@2014 , lost@1"),
        json!("lost，scada"),
        json!(["lost@1", "scada@2014", "scada"]),
    ]
    .into_iter()
    .enumerate()
    {
        let model =
            json!({"kind": "model", "name": format!("m{at}"), "version": "1", "data": data});
        save(&api.fiche, model).unwrap();
        let up = ok(api.get(&format!("/cards/model/m{at}/1/lineage?direction=up")).await);
        let to: Vec<_> = edges(&up).into_iter().filter(|edge| !edge.3).map(|edge| edge.1).collect();
        assert_eq!(to, [scada], "{data}");
        let down = ok(api.get("/cards/dataset/scada/2014/lineage?direction=down").await);
        assert!(names(&down).contains(&format!("m{at}")), "{data}");
    }
}

async fn move_to(api: &Api, card: &str, stage: &str) {
    ok(api.post(&format!("/cards/{card}/stage"), json!({"stage": stage})).await);
}

fn told(impact: &Value, part: &str) -> Vec<(String, bool, Value)> {
    let affected = impact[part].as_array().unwrap();
    let text = |one: &Value| one["name"].as_str().unwrap().to_owned();
    affected
        .iter()
        .map(|one| (text(one), one["breaks"].as_bool().unwrap(), one["instead"].clone()))
        .collect()
}

#[tokio::test]
async fn an_impact_tells_what_breaks_and_what_would_go_on() {
    let api = Api::new();
    for card in [
        json!({"kind": "algorithm", "name": "curve", "version": "1.0.0"}),
        json!({"kind": "algorithm", "name": "curve", "version": "1.1.0", "requires": "curve@1.1.0"}),
        json!({"kind": "model", "name": "pinned", "version": "1", "algorithm": "curve@1.1.0"}),
        json!({"kind": "model", "name": "floating", "version": "1", "algorithm": "curve"}),
        json!({"kind": "model", "name": "old", "version": "1", "requires": "algorithm:curve@1.1.0"}),
        json!({"kind": "application", "name": "desk", "version": "1", "requires": "pinned"}),
        json!({"kind": "application", "name": "board", "version": "1", "requires": "floating,desk"}),
        json!({"kind": "application", "name": "calm", "version": "1", "requires": "floating"}),
        json!({"kind": "model", "name": "both", "version": "1", "algorithm": "curve", "requires": "pinned"}),
        json!({"kind": "application", "name": "tail", "version": "1", "requires": "both"}),
        json!({"kind": "model", "name": "circle", "version": "1", "requires": ["board", "model:circle"]}),
    ] {
        save(&api.fiche, card).unwrap();
    }
    move_to(&api, "application/desk/1", "deployed").await;
    move_to(&api, "application/calm/1", "accepted").await;
    move_to(&api, "model/old/1", "retired").await;
    let impact = ok(api.get("/cards/algorithm/curve/1.1.0/impact").await);
    assert_eq!(impact["other_versions"], json!(["1.0.0"]));
    let old = json!("algorithm:curve@1.0.0");
    assert_eq!(
        told(&impact, "directly"),
        [
            ("both".into(), true, Value::Null),
            ("floating".into(), false, old),
            ("pinned".into(), true, Value::Null),
            ("old".into(), true, Value::Null),
        ]
    );
    let none = Value::Null;
    assert_eq!(
        told(&impact, "indirectly"),
        [
            ("calm".into(), false, none.clone()),
            ("desk".into(), true, none.clone()),
            ("board".into(), true, none.clone()),
            ("tail".into(), true, none.clone()),
            ("circle".into(), true, none),
        ]
    );
    assert_eq!(impact["in_use"], 1, "only what breaks counts");
    let desk = &impact["indirectly"][1];
    assert_eq!((&desk["through"], &desk["stage"]), (&json!("model:pinned@1"), &json!("deployed")));
    assert_eq!(impact["truncated"], false);
    let first = ok(api.get("/cards/algorithm/curve/1.0.0/impact").await);
    assert_eq!((&first["directly"], &first["in_use"]), (&json!([]), &json!(0)));
    api.get("/cards/algorithm/none/1/impact").await.problem(404, "card_not_found");
}

#[tokio::test]
async fn what_another_card_says_it_is_required_by_breaks_with_it() {
    let api = story();
    let impact = ok(api.get("/cards/dataset/scada/2014/impact").await);
    assert_eq!(
        told(&impact, "directly"),
        [("wind-power".into(), true, Value::Null), ("curve".into(), true, Value::Null)]
    );
    assert_eq!(told(&impact, "indirectly"), [("desk".into(), true, Value::Null)]);
}
