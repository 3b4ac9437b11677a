//! An admin account, made or given a new password with the daemon stopped: the first account is.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::context::Context;
use super::serve;
use crate::app;
use crate::kernel::access::{self, Caller, UserDraft};
use crate::kernel::clock::SystemClock;
use crate::kernel::error::{Error, Kind, Result};

#[derive(clap::Args)]
pub(super) struct CreateAdmin {
    /// The account's name
    #[arg(long)]
    username: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// The data folder
    #[arg(long, env = "DRIP_DATA")]
    data: Option<PathBuf>,
}

pub(super) fn run(arguments: CreateAdmin, context: &Context) -> Result<()> {
    let settings = context.settings(app::data_flag(arguments.data.as_deref()))?;
    let name = match arguments.username {
        Some(name) => name,
        None => ask("Name of the account: ")?,
    };
    let password = if arguments.password_stdin { first_line()? } else { ask_password(&name)? };
    let folder = serve::hold(&settings)?;
    let access = app::open_access(&settings, &folder, Arc::new(SystemClock))?;
    let draft = UserDraft { password: Some(password), role: Some("admin".into()), name: None };
    let (user, is_new) = access.put_user(&Caller::system(), &name, &draft, None)?;
    let verb = if is_new { "made" } else { "changed" };
    let said = format!("{verb} the account `{name}`; start the daemon with `dripctl serve`");
    context.out.done(&said, &user)
}

fn first_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|source| Error::io("read standard input", source))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks on the terminal for what was not given; without one it says which flag to use.
pub(super) fn ask(prompt: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(no_terminal("give the name with --username"));
    }
    let mut terminal = std::io::stderr();
    terminal
        .write_all(prompt.as_bytes())
        .and_then(|()| terminal.flush())
        .map_err(|source| Error::io("write to the terminal", source))?;
    first_line()
}

fn no_terminal(instead: &str) -> Error {
    let why = format!("there is no terminal to ask on: {instead}");
    Error::new(Kind::Usage, "not_a_terminal", why)
}

/// Asks for a new password twice.
fn ask_password(user: &str) -> Result<String> {
    let password = secret("Password: ")?;
    access::check_password(&password, user)?;
    if secret("Once more: ")? == password {
        Ok(password)
    } else {
        Err(Error::new(Kind::Invalid, "passwords_differ", "the two passwords differ"))
    }
}

fn secret(prompt: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(no_terminal("give the password with --password-stdin"));
    }
    rpassword::prompt_password(prompt).map_err(|source| Error::io("read the password", source))
}

/// A password as given on standard input or asked for.
pub(super) fn password(from_stdin: bool) -> Result<String> {
    if from_stdin { first_line() } else { secret("Password: ") }
}
