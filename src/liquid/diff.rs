//! What changes between two texts, line by line.

/// The largest table of lines that is compared; beyond it the texts are shown whole.
const CELLS_MAX: usize = 4_000_000;

/// The lines that go (`-`) and come (`+`), each with its number in its own text.
pub(super) fn lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = |lines: &[&str]| lines.len().saturating_sub(same);
    let most = tail(&old).min(tail(&new));
    let ends = old.iter().rev().zip(new.iter().rev()).take(most);
    let after = ends.take_while(|(a, b)| a == b).count();
    let middle = |lines: &[&'_ str]| same..lines.len().saturating_sub(after);
    let a = old.get(middle(&old)).unwrap_or_default();
    let b = new.get(middle(&new)).unwrap_or_default();
    walk(a, b, same)
}

fn walk(old: &[&str], new: &[&str], offset: usize) -> Vec<String> {
    let shown = |sign: char, at: usize, line: &str| format!("{sign}{:>4} {line}", offset + at + 1);
    let common = common(old, new);
    let rest = |at_old: usize, at_new: usize| {
        let rows = common.as_ref();
        rows.and_then(|rows| rows.get(at_old)?.get(at_new).copied()).unwrap_or(0)
    };
    let (mut at_old, mut at_new) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (old.get(at_old), new.get(at_new)) {
            (None, None) => return out,
            (Some(gone), Some(come)) if gone == come && common.is_some() => {
                at_old += 1;
                at_new += 1;
            }
            (Some(gone), come)
                if come.is_none() || rest(at_old + 1, at_new) >= rest(at_old, at_new + 1) =>
            {
                out.push(shown('-', at_old, gone));
                at_old += 1;
            }
            (_, come) => {
                out.extend(come.map(|come| shown('+', at_new, come)));
                at_new += 1;
            }
        }
    }
}

/// For each pair of places the length of the longest common rest; nothing when that is too much.
fn common(a: &[&str], b: &[&str]) -> Option<Vec<Vec<u32>>> {
    if a.len().saturating_mul(b.len()) > CELLS_MAX {
        return None;
    }
    let mut rows = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate().rev() {
        let below = rows.get(i + 1).cloned().unwrap_or_default();
        let Some(row) = rows.get_mut(i) else { continue };
        for (j, y) in b.iter().enumerate().rev() {
            let at = |row: &[u32], j: usize| row.get(j).copied().unwrap_or(0);
            let best =
                if x == y { at(&below, j + 1) + 1 } else { at(&below, j).max(at(row, j + 1)) };
            if let Some(cell) = row.get_mut(j) {
                *cell = best;
            }
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_shown() {
        assert!(lines("a\nb", "a\nb").is_empty());
        assert_eq!(lines("a\nb\nc\nd", "a\nx\nc\nd"), ["-   2 b", "+   2 x"]);
        assert_eq!(lines("a\nc", "a\nb\nc"), ["+   2 b"]);
        assert_eq!(lines("1\n2\n3\n4", "1\n3\n5\n4"), ["-   2 2", "+   3 5"]);
        assert_eq!(lines("", "a"), ["+   1 a"]);
        assert_eq!(lines("a\na", "a"), ["-   2 a"]);
    }

    #[test]
    fn texts_too_large_to_compare_are_shown_whole() {
        let old = "a\n".repeat(3000) + "x";
        let new = "b\n".repeat(3000) + "y";
        assert_eq!(lines(&old, &new).len(), 6002);
    }
}
