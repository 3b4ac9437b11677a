//! The account of the demo, and the token that the demo itself acts with.

use std::path::PathBuf;
use std::time::Duration;

use super::story::Story;
use crate::app::App;
use crate::kernel::access::{
    Access, Caller, NewToken, Role, TokenDraft, UserDraft, random_password,
};
use crate::kernel::disk::replace_file;
use crate::kernel::error::{Error, Result};

const NAME: &str = "admin";

/// Makes the account `admin` with a password that is shown once.
///
/// A file remembers how far this came: `making` before the account is touched, `shown` after its
/// password was printed. Killed in between, the next run makes a new password; an account that the
/// demo never made is left alone.
pub(super) fn ensure(app: &App, story: &mut Story) -> Result<()> {
    let mark = Mark { path: app.folder.part("demo")?.join("account") };
    let exists = app.access.user(NAME).is_ok();
    let state = mark.read()?;
    if exists && state != "making" {
        return story.say(
            "The account `admin` is there already; a lost password is replaced by `dripctl create-admin --username admin`.",
        );
    }
    mark.write("making")?;
    let password = random_password()?;
    let draft =
        UserDraft { password: Some(password.clone()), role: Some("admin".into()), name: None };
    app.access.put_user(&Caller::system(), NAME, &draft, None)?;
    story.password(NAME, &password)?;
    mark.write("shown")
}

struct Mark {
    path: PathBuf,
}

impl Mark {
    fn read(&self) -> Result<String> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Error::io(format!("read {}", self.path.display()), error)),
        }
    }

    fn write(&self, state: &str) -> Result<()> {
        replace_file(&self.path, format!("{state}\n").as_bytes(), 0o600)
    }
}

/// A token for the time of the demo. A demo that is killed leaves it behind; it ends by itself.
pub(super) struct Pass {
    access: Access,
    token: NewToken,
}

impl Pass {
    const LIFETIME: Duration = Duration::from_mins(20);

    pub(super) fn take(access: &Access) -> Result<Self> {
        let draft = TokenDraft {
            name: "demo".into(),
            user: None,
            scopes: ["*:write".parse()?].into(),
            lifetime: Some(Self::LIFETIME),
        };
        let token = access.make_token(&Caller::new(NAME, Role::Admin), draft)?;
        Ok(Self { access: access.clone(), token })
    }

    pub(super) fn token(&self) -> String {
        self.token.token.clone()
    }

    pub(super) fn give_back(self) -> Result<()> {
        self.access.revoke_token(&Caller::new(NAME, Role::Admin), &self.token.id)
    }
}
