//! Traditional characters as simplified ones, so that a card in one script is found by words in the
//! other. One character becomes one: a few that have several simple forms are taken for the most
//! common, on both sides alike.
//!
//! The pairs, in the order of the first of each, are those of OpenCC's `TSCharacters` (Apache-2.0).

use std::sync::LazyLock;

static PAIRS: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let mut chars = include_str!("traditional.txt").chars().filter(|c| !c.is_whitespace());
    let mut pairs = Vec::with_capacity(3000);
    while let (Some(from), Some(to)) = (chars.next(), chars.next()) {
        pairs.push((from, to));
    }
    pairs
});

/// The simplified form of a character; the character itself where it has none.
pub(super) fn simplified(c: char) -> char {
    if !('\u{3400}'..='\u{9FFF}').contains(&c) {
        return c;
    }
    let found = PAIRS.binary_search_by_key(&c, |(from, _)| *from).ok();
    found.and_then(|at| PAIRS.get(at)).map_or(c, |(_, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traditional_characters_become_simplified_ones_and_others_stay() {
        let folded: String = "風電功率預測 發電廠 光伏 LSTM あ".chars().map(simplified).collect();
        assert_eq!(folded, "风电功率预测 发电厂 光伏 LSTM あ");
    }

    #[test]
    fn the_pairs_are_in_order_and_lead_nowhere_further() {
        assert!(PAIRS.len() > 2900);
        assert!(PAIRS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(PAIRS.iter().all(|(_, to)| simplified(*to) == *to));
    }
}
