//! Typed calls of Atom for use from afar.

use serde_json::{Value, json};

use crate::kernel::Result;
use crate::kernel::client::{Client, segment};

/// The calls of Atom on a daemon.
#[derive(Debug, Clone)]
pub struct AtomClient(Client);

impl AtomClient {
    /// Calls through `client`.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Keeps a table; `params` are `tag`, `belong`, `object_name`, `remarks` and `unit.COLUMN`.
    pub async fn put_dataset(
        &self,
        (name, version): (&str, &str),
        params: &[(String, String)],
        media_type: &str,
        bytes: impl Into<reqwest::Body>,
    ) -> Result<Value> {
        let request = self
            .0
            .request(reqwest::Method::PUT, &at("datasets", name, version))
            .query(params)
            .header(reqwest::header::CONTENT_TYPE, media_type)
            .body(bytes);
        self.0.json(request).await
    }

    /// What a dataset is.
    pub async fn dataset(&self, name: &str, version: &str) -> Result<Value> {
        self.0.get(&at("datasets", name, version)).await
    }

    /// The first rows of a dataset.
    pub async fn preview(&self, name: &str, version: &str, rows: usize) -> Result<Value> {
        self.0.get(&format!("{}/preview?limit={rows}", at("datasets", name, version))).await
    }

    /// The columns of a dataset at a glance.
    pub async fn stats(&self, name: &str, version: &str) -> Result<Value> {
        self.0.get(&format!("{}/stats", at("datasets", name, version))).await
    }

    /// Every dataset that meets `params`.
    pub async fn datasets(&self, params: &[(&str, String)]) -> Result<Vec<Value>> {
        self.0.all(&listed("datasets", params)).await
    }

    /// Deletes a version of a dataset.
    pub async fn delete_dataset(&self, name: &str, version: &str) -> Result<()> {
        self.0.delete(&at("datasets", name, version)).await
    }

    /// Keeps an operator; it is served when this answers.
    pub async fn put_operator(&self, name: &str, version: &str, body: &Value) -> Result<Value> {
        self.0.put(&at("operators", name, version), body).await
    }

    /// What an operator is.
    pub async fn operator(&self, name: &str, version: &str) -> Result<Value> {
        self.0.get(&at("operators", name, version)).await
    }

    /// Every operator that meets `params`.
    pub async fn operators(&self, params: &[(&str, String)]) -> Result<Vec<Value>> {
        self.0.all(&listed("operators", params)).await
    }

    /// Deletes a version of an operator.
    pub async fn delete_operator(&self, name: &str, version: &str) -> Result<()> {
        self.0.delete(&at("operators", name, version)).await
    }

    /// Lets a consumer compute with an operator.
    pub async fn grant(&self, name: &str, version: &str, user: &str) -> Result<Value> {
        self.0.put(&grant_at(name, version, user), &json!({})).await
    }

    /// Takes a grant back.
    pub async fn revoke(&self, name: &str, version: &str, user: &str) -> Result<()> {
        self.0.delete(&grant_at(name, version, user)).await
    }

    /// Computes one row: `{output, version}`.
    pub async fn compute(&self, name: &str, version: &str, inputs: &Value) -> Result<Value> {
        self.0.post(&compute_at(name, version), &json!({ "inputs": inputs })).await
    }

    /// Computes many rows: `{outputs, version}`.
    pub async fn compute_rows(&self, name: &str, version: &str, rows: &Value) -> Result<Value> {
        self.0.post(&compute_at(name, version), &json!({ "rows": rows })).await
    }
}

fn at(what: &str, name: &str, version: &str) -> String {
    format!("/api/v1/{what}/{}/{}", segment(name), segment(version))
}

fn compute_at(name: &str, version: &str) -> String {
    format!("{}/compute", at("operators", name, version))
}

fn grant_at(name: &str, version: &str, user: &str) -> String {
    format!("{}/grants/{}", at("operators", name, version), segment(user))
}

fn listed(what: &str, params: &[(&str, String)]) -> String {
    let params: Vec<_> =
        params.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    format!("/api/v1/{what}?{}", params.join("&"))
}
