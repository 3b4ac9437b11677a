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
