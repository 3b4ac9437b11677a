//! Observers over the wire.

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use super::{FicheClient, Page, query_of};
use crate::fiche::{Delivery, DeliveryState, Observer, Redelivery};
use crate::kernel::Result;
use crate::kernel::client::segment;

impl FicheClient {
    /// Saves an observer: the document as the call takes it. `revision` guards the write.
    pub async fn observe(
        &self,
        name: &str,
        document: &Value,
        revision: Option<u64>,
    ) -> Result<Observer> {
        let mut request = self.client.request(Method::PUT, &path(name, "")).json(document);
        if let Some(revision) = revision {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        self.client.json(request).await
    }

    /// An observer, and how it stands.
    pub async fn observer(&self, name: &str) -> Result<Observer> {
        self.client.get(&path(name, "")).await
    }

    /// Every observer.
    pub async fn observers(&self) -> Result<Vec<Value>> {
        self.client.all("/api/v1/observers").await
    }

    /// Deletes an observer, with its log.
    pub async fn forget_observer(&self, name: &str) -> Result<()> {
        self.client.delete(&path(name, "")).await
    }

    /// Up to `limit` entries of an observer's log, newest first; what is pending, in order.
    pub async fn deliveries(
        &self,
        name: &str,
        state: Option<DeliveryState>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let mut pairs = vec![("limit", limit.to_string())];
        pairs.extend(state.map(|state| ("state", state.as_str().to_owned())));
        let path = path(name, &format!("/deliveries{}", query_of(&pairs)));
        Ok(self.client.get::<Page<Delivery>>(&path).await?.items)
    }

    /// Tells an observer again what it was told from a number on.
    pub async fn redeliver(&self, name: &str, from: u64, to: Option<u64>) -> Result<Redelivery> {
        self.client.post(&path(name, "/redeliver"), &json!({"from": from, "to": to})).await
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/api/v1/observers/{}{rest}", segment(name))
}
