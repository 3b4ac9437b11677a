//! How many batches the writer waits for before it syncs: as many as came together the last times.
//!
//! Clients that each wait for their answer come back one after the other. Without patience the
//! writer syncs for the first few of them, again and again; with it, one sync answers as many as are
//! there. The number is tried upwards while it is reached, and falls to what came when it is not.

/// After so many rounds without a failed try, a higher number is tried.
const HOLD: u32 = 64;

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct Patience {
    wanted: usize,
    hold: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { wanted: 1, hold: 0 }
    }
}

impl Patience {
    /// How many batches are worth a wait.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// So many came; `more` tells that others were on their way.
    pub(crate) fn came(&mut self, batches: usize, more: bool) {
        if batches < self.wanted {
            self.wanted = batches.max(1);
            self.hold = HOLD;
        } else if self.hold > 0 {
            self.hold -= 1;
        } else if batches > 1 || more {
            self.wanted = batches + batches / 2 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds with so many clients that all come back in time: how many were waited for in vain.
    fn vain(patience: &mut Patience, clients: usize, rounds: usize) -> usize {
        let mut vain = 0;
        for _ in 0..rounds {
            vain += usize::from(patience.wanted() > clients);
            patience.came(clients, false);
        }
        vain
    }

    #[test]
    fn one_alone_never_waits_and_many_seldom_in_vain() {
        let mut patience = Patience::default();
        assert_eq!(vain(&mut patience, 1, 1000), 0);
        patience.came(2, true);
        assert!(vain(&mut patience, 8, 1000) <= 1000 / 64 + 2);
        assert!(vain(&mut patience, 1, 1000) <= 2, "when the others have gone");
    }

    #[test]
    fn it_finds_how_many_come() {
        let mut patience = Patience::default();
        patience.came(1, true);
        for _ in 0..10 {
            let came = patience.wanted().min(30);
            patience.came(came, true);
        }
        assert_eq!(patience.wanted(), 30);
    }
}
