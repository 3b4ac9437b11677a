//! What the daemon is and has.

use serde_json::{Value, json};

use super::context::Context;
use crate::kernel::error::{Kind, Result};

pub(super) async fn run(context: &Context) -> Result<()> {
    let client = context.client()?;
    let version: Value = client.get("/api/v1/version").await?;
    let mut status = json!({"url": client.url()});
    merge(&mut status, version);
    match client.get::<Value>("/readyz").await {
        Ok(ready) => merge(&mut status, ready),
        Err(error) if error.kind() == Kind::Unavailable => {
            merge(&mut status, json!({"ready": false, "reason": error.detail()}));
        }
        Err(error) => return Err(error),
    }
    // Counts are for those who may read; everyone may know that it runs.
    match client.get::<Value>("/api/v1/status").await {
        Ok(counts) => merge(&mut status, counts),
        Err(error) if client.has_token() && error.kind() == Kind::Unauthenticated => {
            return Err(error);
        }
        Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::Denied) => {
            let hint = "sign in with `dripctl login` to see what there is";
            merge(&mut status, json!({"counts": hint}));
        }
        Err(error) => return Err(error),
    }
    context.out.object(&status)
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
