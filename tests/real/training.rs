#![cfg(test)]
//! A Python script that trains with scikit-learn, as a node of a pipeline, on the wind data.

use std::path::Path;

use serde_json::json;

use super::Filled;
use crate::support::real_venv;

#[test]
fn a_model_trained_by_python_comes_back_as_an_artifact_with_a_card() {
    let Some(venv) = real_venv("training") else { return };
    let (home, password) = Filled::copy();
    let python = venv.join("bin/python").display().to_string();
    home.settings(&format!("[liquid]\nallow_process = [\"{python}\"]\n"));
    let daemon = home.serve();
    let body = json!({"username": "admin", "password": password});
    let login = daemon.http().post("/api/v1/login", &body).unwrap().expect(200).json();
    let http = daemon.http().with_token(login["token"].as_str().unwrap());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/training");
    let code = std::fs::read(example.join("train.py")).unwrap();
    let put = "/api/v1/objects/components/training/train.py";
    http.send("PUT", put, Some("text/x-python"), &code).unwrap().expect(201);
    let source = std::fs::read_to_string(example.join("train.rhai")).unwrap();
    let source = source.replace("/opt/venv/bin/python", &python);
    http.put("/api/v1/pipelines/train", &json!({"source": source})).unwrap().expect(201);

    let datasets = http.get("/api/v1/datasets?limit=100").unwrap().expect(200).json();
    let name = |item: &serde_json::Value| {
        format!("{}@{}", item["name"].as_str().unwrap(), item["version"].as_str().unwrap())
    };
    let scada = datasets["items"].as_array().unwrap().iter().map(name);
    let scada = scada.into_iter().find(|name| name.starts_with("scada@")).unwrap();
    let inputs = json!({"inputs": {"scada": scada, "version": "1.0.0"}});
    let run =
        http.post("/api/v1/pipelines/train/runs?wait=5m", &inputs).unwrap().expect(200).json();
    assert_eq!(run["error"], json!(null), "{run}\n{}", daemon.log());
    let mae = run["outputs"]["mae_kw"].as_f64().unwrap();
    assert!(mae > 10.0 && mae < 150.0, "a turbine of 2050 kW: {mae}");

    let id = run["id"].as_str().unwrap();
    let card = http.get("/api/v1/cards/model/wind-power-trees/1.0.0").unwrap().expect(200).json();
    assert_eq!(card["config"]["report"]["mae_kw"], json!(mae));
    let model = http.get("/api/v1/objects/models/training/1.0.0/model.onnx").unwrap();
    assert!(model.expect(200).body.len() > 1000);
    let lines =
        http.get(&format!("/api/v1/logs?run_id={id}&limit=1000")).unwrap().expect(200).json();
    let lines = lines["items"].as_array().unwrap();
    let said =
        |text: &str| lines.iter().any(|line| line["message"].as_str().unwrap().contains(text));
    assert!(said("rows to learn from") && said("the process is fenced in"), "{lines:#?}");
    let trained = lines.iter().find(|line| line["stream"] == "training").unwrap();
    assert_eq!(trained["fields"]["mae_kw"], json!(mae), "logged with the run's own token");
    let tokens = http.get("/api/v1/tokens?limit=1000").unwrap().expect(200).json();
    let left = |token: &&serde_json::Value| token["name"].as_str().unwrap().starts_with("run-");
    assert_eq!(tokens["items"].as_array().unwrap().iter().filter(left).count(), 0, "{tokens}");

    // The same again is taken from the cache.
    let inputs = json!({"inputs": {"scada": scada, "version": "1.0.1"}});
    let again =
        http.post("/api/v1/pipelines/train/runs?wait=5m", &inputs).unwrap().expect(200).json();
    let train = again["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "train");
    assert_eq!(train.unwrap()["cached"], json!(true), "{again}");
}
