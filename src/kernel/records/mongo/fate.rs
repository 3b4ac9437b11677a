//! What became of a commit that got no clear answer, and what to do about a writer that died.
//!
//! After a commit was sent, only the writer's mark says whether it took effect: what the server
//! answers to a commit that is sent again is not asked, for a server may have forgotten it. The mark
//! is looked at in a transaction that writes it, too, so that the lost one, should it still be on its
//! way, can no longer take effect behind our back.

use std::time::{Duration, Instant};

use mongodb::bson::{Binary, Bson, doc};

use super::commit::Writer;
use super::error::Trouble;
use super::server::Server;

/// How long it is asked whether a commit took effect.
const ASKING: Duration = Duration::from_secs(8);
/// After how long another writer that holds the numbers is taken for dead.
const STUCK: Duration = Duration::from_secs(2);
/// How long is waited before it is asked again whether a commit took effect.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Whether those who write at the same time get on.
#[derive(Default)]
pub(super) struct Others {
    /// How many groups were committed when this writer first failed.
    commits: Option<i64>,
    is_answered: bool,
}

impl Others {
    /// Whether nobody got on for a while; says so once.
    pub(super) async fn are_stuck(&mut self, server: &Server, begun: Instant) -> bool {
        match self.commits {
            None => self.commits = server.count_commits().await,
            Some(before) if begun.elapsed() > STUCK && !self.is_answered => {
                self.is_answered = true;
                return server.count_commits().await == Some(before);
            }
            Some(_) => {}
        }
        false
    }
}

impl Writer {
    /// Whether the newest group took effect; none when that could not be found out in time.
    pub(super) async fn took_effect(&mut self) -> Option<bool> {
        let begun = Instant::now();
        while begun.elapsed() < ASKING {
            match self.look_at_mark().await {
                Ok(group) => return Some(group == self.group),
                Err(trouble) => {
                    tracing::debug!(?trouble, "what became of a commit is not known yet");
                }
            }
            self.abort().await;
            tokio::time::sleep(ASK_AGAIN).await;
        }
        None
    }

    /// Which group the mark tells of, in a transaction that shuts out every earlier one.
    async fn look_at_mark(&mut self) -> Result<i64, Trouble> {
        self.begin().await?;
        let find = self.server.commits.find_one(doc! { "_id": &self.id });
        let mark = self.server.call(find.session(&mut self.session)).await?;
        let looked = doc! { "$set": { "looked": self.group } };
        let update = self.server.commits.update_one(doc! { "_id": &self.id }, looked).upsert(true);
        self.server.call(update.session(&mut self.session)).await?;
        self.commit().await?;
        Ok(mark.and_then(|mark| mark.get_i64("group").ok()).unwrap_or(0))
    }

    /// Ends the transactions of other writers: one that died in the middle of one would hold the
    /// numbers for a minute. One that lives begins anew.
    pub(super) async fn shut_others_out(&self) {
        let shut = async {
            let others = doc! { "_id": { "$gt": "writer/", "$lt": "writer0", "$ne": &self.id } };
            let mut found = self.server.call(self.server.commits.find(others)).await?;
            let mut sessions = Vec::new();
            while self.server.call(found.advance()).await? {
                if let Ok(session) = found.current().get_binary("session") {
                    let id = Binary { subtype: session.subtype, bytes: session.bytes.to_vec() };
                    sessions.push(Bson::from(doc! { "id": id }));
                }
            }
            let kill = doc! { "killSessions": sessions };
            self.server.call(self.server.client.database("admin").run_command(kill)).await
        };
        match shut.await {
            Ok(_) => tracing::warn!("another writer held the numbers and was shut out"),
            Err(trouble) => tracing::warn!(?trouble, "another writer holds the numbers"),
        }
    }
}
