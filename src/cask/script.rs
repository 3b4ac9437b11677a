//! What Rhai may call: `cask::put`, `cask::get`, `cask::exists`, `cask::list`, `cask::push`,
//! `cask::pull`. A script does what its caller may do, and no more.

use bytes::Bytes;
use rhai::{Array, Blob, Dynamic, EvalAltResult, FuncRegistration, Module};

use super::{Cask, Listing, OCTETS, PutOptions, error};
use crate::kernel::access::Needs;
use crate::kernel::script::{ScriptContext, from_dynamic, raise, to_dynamic};
use crate::kernel::{Error, Kind, Result, wait_for};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The most bytes that a script takes into its memory at once.
const GET_MAX: u64 = 64 << 20;
/// The most objects that one list gives.
const LIST_MAX: usize = 10_000;
/// So many objects are asked for at once.
const PAGE: usize = 1000;

type Answer<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The module `cask`.
pub fn module(cask: Cask) -> Module {
    let mut module = Module::new();
    let own = cask.clone();
    FuncRegistration::new("put").with_volatility(true).set_into_module(
        &mut module,
        move |bucket: &str, key: &str, value: Dynamic| -> Answer<Dynamic> {
            put(&own, bucket, key, &value).map_err(raise)
        },
    );
    let own = cask.clone();
    FuncRegistration::new("get")
        .with_volatility(true)
        .set_into_module(&mut module, move |bucket: &str, key: &str| -> Answer<Dynamic> {
            get(&own, bucket, key).map_err(raise)
        });
    let own = cask.clone();
    FuncRegistration::new("exists")
        .with_volatility(true)
        .set_into_module(&mut module, move |bucket: &str, key: &str| -> Answer<bool> {
            exists(&own, bucket, key).map_err(raise)
        });
    let own = cask.clone();
    FuncRegistration::new("list").with_volatility(true).set_into_module(
        &mut module,
        move |bucket: &str, prefix: &str| -> Answer<Array> {
            list(&own, bucket, prefix).map_err(raise)
        },
    );
    let own = cask.clone();
    FuncRegistration::new("push").with_volatility(true).set_into_module(
        &mut module,
        move |name: &str, version: &str, package: Blob| -> Answer<Dynamic> {
            push(&own, name, version, package).map_err(raise)
        },
    );
    FuncRegistration::new("pull").with_volatility(true).set_into_module(
        &mut module,
        move |name: &str, version: &str| -> Answer<Blob> {
            pull(&cask, name, version).map_err(raise)
        },
    );
    module
}

/// Text and blobs are kept as they are, everything else as JSON.
fn put(cask: &Cask, bucket: &str, key: &str, value: &Dynamic) -> Result<Dynamic> {
    let caller = ScriptContext::caller_with(Needs::Write("cask"))?;
    let (content_type, bytes) = if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        (TEXT, Bytes::copy_from_slice(text.as_bytes()))
    } else if let Some(blob) = value.read_lock::<Blob>() {
        (OCTETS, Bytes::copy_from_slice(&blob))
    } else {
        (JSON, Bytes::from(from_dynamic(value)?.to_string()))
    };
    let options =
        PutOptions { content_type: Some(content_type.to_owned()), ..PutOptions::default() };
    let kept = cask.put_now(&caller, bucket, key, options, bytes)?;
    shown(&kept.item)
}

/// Text, and JSON as text; anything else as a blob.
fn get(cask: &Cask, bucket: &str, key: &str) -> Result<Dynamic> {
    ScriptContext::caller_with(Needs::Read("cask"))?;
    let found = cask.get(bucket, key)?;
    if found.size() > GET_MAX {
        return Err(error::too_large_for_script(found.size(), GET_MAX));
    }
    let kind = found.info.content_type.clone();
    let bytes = wait_for(found.bytes())?;
    let is_text = kind.starts_with("text/") || kind.starts_with(JSON);
    match std::str::from_utf8(&bytes) {
        Ok(text) if is_text => Ok(text.to_owned().into()),
        _ => Ok(Dynamic::from_blob(bytes.to_vec())),
    }
}

fn exists(cask: &Cask, bucket: &str, key: &str) -> Result<bool> {
    ScriptContext::caller_with(Needs::Read("cask"))?;
    match cask.get(bucket, key) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn list(cask: &Cask, bucket: &str, prefix: &str) -> Result<Array> {
    ScriptContext::caller_with(Needs::Read("cask"))?;
    let mut found = Array::new();
    let mut after = None;
    loop {
        let listing = Listing {
            prefix: prefix.to_owned(),
            delimiter: None,
            after: after.take(),
            limit: PAGE,
        };
        let (page, end) = cask.list(bucket, &listing)?;
        for item in &page.items {
            found.push(shown(item)?);
        }
        if end.is_none() {
            return Ok(found);
        }
        if found.len() >= LIST_MAX {
            return Err(error::too_many_for_script(LIST_MAX));
        }
        after = end;
    }
}

/// Pushes the bytes of a `.caskpkg`, which are looked into as any other's.
fn push(cask: &Cask, name: &str, version: &str, package: Blob) -> Result<Dynamic> {
    let caller = ScriptContext::caller_with(Needs::Write("cask"))?;
    shown(&cask.push_now(&caller, name, version, Bytes::from(package))?.item)
}

/// The bytes of a package; `latest` is a version too.
fn pull(cask: &Cask, name: &str, version: &str) -> Result<Blob> {
    ScriptContext::caller_with(Needs::Read("cask"))?;
    let found = cask.open_package(name, version)?;
    if found.size() > GET_MAX {
        return Err(error::too_large_for_script(found.size(), GET_MAX));
    }
    Ok(wait_for(found.bytes())?.to_vec())
}

fn shown(item: &impl serde::Serialize) -> Result<Dynamic> {
    let value =
        serde_json::to_value(item).map_err(|source| Error::internal(format!("show: {source}")))?;
    Ok(to_dynamic(&value))
}
