//! Cask over the wire: typed calls on a daemon.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};

use super::error;
use super::model::{BucketInfo, BucketSettings, ObjectInfo, PackageInfo, Place};
use super::package::{MEDIA_TYPE, Metadata};
use crate::kernel::client::{Client, key_path, segment};
use crate::kernel::{Digest, Result};

/// The cask of a daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CaskClient {
    client: Client,
}

/// Bytes on their way to a daemon.
#[derive(Debug)]
pub struct Sending {
    /// The bytes.
    pub body: reqwest::Body,
    /// How many there are.
    pub length: u64,
    /// What they must be when they arrive, where it is known before.
    pub sha256: Option<Digest>,
}

/// Bytes on their way from a daemon.
pub struct Receiving {
    /// How many there will be, as far as the daemon says.
    pub length: Option<u64>,
    /// What they must be.
    pub sha256: Option<Digest>,
    response: reqwest::Response,
}

impl Sending {
    /// Bytes that are in memory.
    pub fn bytes(bytes: Bytes) -> Self {
        Self { length: bytes.len() as u64, sha256: Some(Digest::of(&bytes)), body: bytes.into() }
    }
}

impl Receiving {
    /// The bytes as they come.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes>> {
        self.response.bytes_stream().map(|piece| piece.map_err(error::connection_lost))
    }
}

impl CaskClient {
    /// The cask of this daemon.
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    /// Makes a bucket or changes what it allows.
    pub async fn save_bucket(&self, bucket: &str, settings: &BucketSettings) -> Result<BucketInfo> {
        let path = format!("/api/v1/buckets/{}", segment(bucket));
        self.client.put(&path, settings).await
    }

    /// All buckets.
    pub async fn buckets(&self) -> Result<Vec<Value>> {
        self.client.all("/api/v1/buckets").await
    }

    /// Deletes an empty bucket.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<()> {
        let path = format!("/api/v1/buckets/{}", segment(bucket));
        self.client.delete(&path).await
    }

    /// Every object of a bucket whose key starts with `prefix`.
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<Value>> {
        let (bucket, prefix) = (segment(bucket), segment(prefix));
        let path = format!("/api/v1/objects/{bucket}?prefix={prefix}");
        self.client.all(&path).await
    }

    /// Puts an object; the daemon checks the digest.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        content_type: &str,
        sending: Sending,
    ) -> Result<ObjectInfo> {
        self.put_with(bucket, key, content_type, &BTreeMap::new(), sending).await
    }

    /// Puts an object with what is said of it in `Drip-Meta-…` headers.
    pub async fn put_with(
        &self,
        bucket: &str,
        key: &str,
        content_type: &str,
        meta: &BTreeMap<String, String>,
        sending: Sending,
    ) -> Result<ObjectInfo> {
        self.send(&object_path(bucket, key), content_type, meta, sending).await
    }

    /// Asks for an object.
    pub async fn get(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Receiving> {
        self.receive(&version_path(bucket, key, version)).await
    }

    /// Copies an object.
    pub async fn copy(&self, from: &Place, to: &Place) -> Result<ObjectInfo> {
        self.client.post("/api/v1/objects:copy", &json!({"from": from, "to": to})).await
    }

    /// Moves an object.
    pub async fn relocate(&self, from: &Place, to: &Place) -> Result<ObjectInfo> {
        self.client.post("/api/v1/objects:move", &json!({"from": from, "to": to})).await
    }

    /// What the keys of a bucket that start with `prefix` hold and held.
    pub async fn versions(&self, bucket: &str, prefix: &str) -> Result<Vec<Value>> {
        let (bucket, prefix) = (segment(bucket), segment(prefix));
        self.client.all(&format!("/api/v1/versions/{bucket}?prefix={prefix}")).await
    }

    /// One bucket.
    pub async fn bucket(&self, bucket: &str) -> Result<BucketInfo> {
        self.client.get(&format!("/api/v1/buckets/{}", segment(bucket))).await
    }

    /// Has the daemon read all its bytes; the lines that it answers, as they come.
    pub async fn verify(&self) -> Result<impl Stream<Item = Result<Bytes>>> {
        let request = self.client.request(Method::GET, "/api/v1/objects:verify");
        let response = self.client.send(request).await?;
        Ok(response.bytes_stream().map(|piece| piece.map_err(error::connection_lost)))
    }

    /// Makes a pair of keys.
    #[cfg(feature = "s3")]
    pub async fn make_key(&self, new: &super::keys::NewKey) -> Result<super::keys::MadeKey> {
        self.client.post("/api/v1/s3-keys", new).await
    }

    /// The pairs of keys.
    #[cfg(feature = "s3")]
    pub async fn keys(&self) -> Result<Vec<Value>> {
        self.client.all("/api/v1/s3-keys").await
    }

    /// Takes a pair of keys back.
    #[cfg(feature = "s3")]
    pub async fn delete_key(&self, access_key: &str) -> Result<()> {
        self.client.delete(&format!("/api/v1/s3-keys/{}", segment(access_key))).await
    }

    /// Deletes an object.
    pub async fn delete(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<()> {
        self.client.delete(&version_path(bucket, key, version)).await
    }

    /// Packages whose name or summary contains `query`.
    pub async fn packages(&self, query: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/packages?q={}", segment(query));
        self.client.all(&path).await
    }

    /// Pushes a package; the daemon checks the digest and the whole archive.
    pub async fn push(&self, name: &str, version: &str, sending: Sending) -> Result<PackageInfo> {
        let none = BTreeMap::new();
        self.send(&package_path(name, version), MEDIA_TYPE, &none, sending).await
    }

    /// Asks for a package; `latest` is a version too.
    pub async fn pull(&self, name: &str, version: &str) -> Result<Receiving> {
        self.receive(&package_path(name, version)).await
    }

    /// What a package says of itself.
    pub async fn metadata(&self, name: &str, version: &str) -> Result<Metadata> {
        let path = format!("{}/metadata", package_path(name, version));
        self.client.get(&path).await
    }

    /// Deletes a version of a package.
    pub async fn delete_package(&self, name: &str, version: &str) -> Result<()> {
        self.client.delete(&package_path(name, version)).await
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        meta: &BTreeMap<String, String>,
        sending: Sending,
    ) -> Result<T> {
        let mut request = self
            .client
            .request(Method::PUT, path)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, sending.length)
            .body(sending.body);
        if let Some(sha256) = sending.sha256 {
            request = request.header("drip-sha256", sha256.to_hex());
        }
        for (name, value) in meta {
            request = request.header(format!("drip-meta-{name}"), value.as_bytes());
        }
        self.client.json(request).await
    }

    async fn receive(&self, path: &str) -> Result<Receiving> {
        let request = self.client.request(Method::GET, path);
        let response = self.client.send(request).await?;
        let sha256 = response
            .headers()
            .get("drip-sha256")
            .and_then(|value| Digest::parse(value.to_str().ok()?).ok());
        Ok(Receiving { length: response.content_length(), sha256, response })
    }
}

fn object_path(bucket: &str, key: &str) -> String {
    format!("/api/v1/objects/{}/{}", segment(bucket), key_path(key))
}

fn version_path(bucket: &str, key: &str, version: Option<&str>) -> String {
    let path = object_path(bucket, key);
    match version {
        Some(version) => format!("{path}?version={}", segment(version)),
        None => path,
    }
}

fn package_path(name: &str, version: &str) -> String {
    format!("/api/v1/packages/{}/{}", segment(name), segment(version))
}
