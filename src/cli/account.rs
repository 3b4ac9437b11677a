//! Sign-in, accounts and tokens, through the daemon.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::admin;
use super::context::{Context, Kept};
use crate::kernel::client::segment;
use crate::kernel::error::Result;

#[derive(clap::Args)]
pub(super) struct Login {
    /// The account's name
    #[arg(long)]
    username: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn login(arguments: Login, context: &Context) -> Result<()> {
    let name = match arguments.username {
        Some(name) => name,
        None => admin::ask("Name: ")?,
    };
    let password = admin::password(arguments.password_stdin)?;
    let client = context.client()?;
    let body = json!({"username": name, "password": password});
    let answer: Value = client.post("/api/v1/login", &body).await?;
    let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut kept = Kept::load()?;
    kept.tokens.insert(client.url().to_owned(), text("token").to_owned());
    kept.save()?;
    let shown = json!({
        "url": client.url(), "username": name, "role": text("role"), "expires_at": text("expires_at"),
    });
    let said = format!("signed in to {} as `{name}` ({})", client.url(), text("role"));
    context.out.done(&said, &shown)
}

pub(super) async fn logout(context: &Context) -> Result<()> {
    let client = context.client()?;
    // Ending it at the daemon is a courtesy: a daemon that is away must not keep it alive here.
    let ended = client.send(client.request(Method::POST, "/api/v1/logout")).await.is_ok();
    let mut kept = Kept::load()?;
    kept.tokens.remove(client.url());
    kept.save()?;
    let shown = json!({"url": client.url(), "ended": ended});
    context.out.done(&format!("signed out of {}", client.url()), &shown)
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// List accounts
    List,
    /// Make an account, or change its role or password
    Put {
        /// The account's name
        name: String,
        /// admin, publisher, viewer or consumer
        #[arg(long)]
        role: Option<String>,
        /// Set a password, asked for on the terminal
        #[arg(long)]
        password: bool,
        /// Set a password, read from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account and its tokens
    Delete {
        /// The account's name
        name: String,
    },
}

pub(super) async fn users(command: UserCommand, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        UserCommand::List => {
            let users = client.all("/api/v1/users").await?;
            let empty = "no accounts yet: `dripctl create-admin`";
            context.out.rows(&users, &["name", "role", "created_at"], empty)
        }
        UserCommand::Put { name, role, password, password_stdin } => {
            let mut body = serde_json::Map::new();
            if let Some(role) = role {
                body.insert("role".into(), role.into());
            }
            if password || password_stdin {
                body.insert("password".into(), admin::password(password_stdin)?.into());
            }
            let path = format!("/api/v1/users/{}", segment(&name));
            let user: Value = client.put(&path, &body).await?;
            context.out.object(&user)
        }
        UserCommand::Delete { name } => {
            client.delete(&format!("/api/v1/users/{}", segment(&name))).await?;
            context.out.done(&format!("removed `{name}`"), &json!({"deleted": name}))
        }
    }
}

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// List API tokens
    List,
    /// Make an API token; its text is shown once
    Create {
        /// What to call it
        name: String,
        /// What it allows, such as fiche:write; may be given several times
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// How long it lives
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// For another account (admins only)
        #[arg(long)]
        user: Option<String>,
    },
    /// End an API token at once
    Revoke {
        /// The token's id, as `list` shows it
        id: String,
    },
}

pub(super) async fn tokens(command: TokenCommand, context: &Context) -> Result<()> {
    let client = context.client()?;
    match command {
        TokenCommand::List => {
            let tokens = client.all("/api/v1/tokens").await?;
            let fields = ["id", "name", "user", "scopes", "expires_at"];
            let empty = "no tokens: `dripctl token create NAME --scope fiche:read`";
            context.out.rows(&tokens, &fields, empty)
        }
        TokenCommand::Create { name, scopes, expires_in, user } => {
            let body =
                json!({"name": name, "scopes": scopes, "expires_in": expires_in, "user": user});
            let token: Value = client.post("/api/v1/tokens", &body).await?;
            context.out.object(&token)
        }
        TokenCommand::Revoke { id } => {
            client.delete(&format!("/api/v1/tokens/{}", segment(&id))).await?;
            context.out.done(&format!("ended the token {id}"), &json!({"revoked": id}))
        }
    }
}
