//! The API's description, generated from the table that builds the router.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::kernel::access::Needs;
use crate::kernel::http::{PROBLEM_JSON, Problem, RouteInfo, Routes, get};

pub(super) fn routes(description: Arc<Value>) -> Routes {
    Routes::new("system")
        .add(
            get("/openapi.json", Needs::Public, show)
                .says("The API's description")
                .answers_bytes(200, "application/json"),
        )
        .with_state(description)
}

async fn show(State(description): State<Arc<Value>>) -> Json<Value> {
    Json((*description).clone())
}

/// An OpenAPI 3.1 document for these routes.
pub fn describe(table: &[RouteInfo]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    schemas.insert("Problem".into(), as_json(&<Problem as utoipa::PartialSchema>::schema()));
    for route in table {
        for (name, schema) in &route.schemas {
            schemas.insert(name.clone(), as_json(schema));
        }
        let path = route.path.replace("{*", "{");
        let method = route.method.as_str().to_lowercase();
        paths.entry(path).or_default().insert(method, operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Drip", "version": env!("CARGO_PKG_VERSION"),
            "description": "One program that carries an algorithm through its whole life on one machine.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &RouteInfo) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.module],
        "parameters": parameters(route),
        "responses": responses(route),
        "description": format!("Needs {}.", route.needs),
    });
    if let Some(fields) = operation.as_object_mut() {
        if let Some((media_type, schema)) = &route.takes {
            let content = content(media_type, as_json(schema));
            fields.insert("requestBody".into(), json!({"required": true, "content": content}));
        }
        let security =
            if route.needs == Needs::Public { json!([]) } else { json!([{"bearer": []}]) };
        fields.insert("security".into(), security);
    }
    operation
}

fn operation_id(route: &RouteInfo) -> String {
    // What is not below our own base path has a name of its own: `/v1/logs` is not `/api/v1/logs`.
    let path = route.path.strip_prefix("/api/v1").unwrap_or(route.path);
    let words = path.split(['/', ':', '.']).map(|part| part.trim_matches(['{', '}', '*']));
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"))
}

fn parameters(route: &RouteInfo) -> Vec<Value> {
    let in_path =
        route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        let name = name.trim_start_matches('*');
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
    });
    let in_query = route.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}})
    });
    in_path.chain(in_query).collect()
}

fn responses(route: &RouteInfo) -> Value {
    let mut responses = Map::new();
    for (status, media_type, schema) in &route.answers {
        let mut response = json!({"description": describe_status(*status)});
        if let Some(fields) = response.as_object_mut().filter(|_| *status != 204) {
            fields.insert("content".into(), content(media_type, as_json(schema)));
        }
        responses.insert(status.to_string(), response);
    }
    let problem = content(PROBLEM_JSON, json!({"$ref": "#/components/schemas/Problem"}));
    responses
        .insert("default".into(), json!({"description": "A problem document", "content": problem}));
    Value::Object(responses)
}

fn content(media_type: &str, schema: Value) -> Value {
    let mut content = Map::new();
    content.insert(media_type.to_owned(), json!({"schema": schema}));
    Value::Object(content)
}

fn describe_status(status: u16) -> &'static str {
    match status {
        201 => "Made",
        202 => "Accepted",
        204 => "Done; no content",
        206 => "A part",
        503 => "Unavailable",
        _ => "Done",
    }
}

fn as_json(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or_else(|_unlikely| json!({}))
}
