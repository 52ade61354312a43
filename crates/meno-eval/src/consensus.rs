//! cons@k: the majority vote over k samples (R1 §3, Table 2).

/// The chance that the majority vote is right. A vote is an answer (`None`: no answer, no vote); answers that `is_same`
/// calls equal are votes for one of them. Ties are broken by lot, so a tie of m answers gives the right one 1/m.
pub fn majority(
    votes: &[Option<String>],
    is_same: impl Fn(&str, &str) -> bool,
    is_right: impl Fn(&str) -> bool,
) -> f64 {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for vote in votes.iter().flatten() {
        let known = counts.iter().position(|(v, _)| v == vote);
        let known = known.or_else(|| counts.iter().position(|(v, _)| is_same(v, vote)));
        match known.map(|at| &mut counts[at]) {
            Some((_, n)) => *n += 1,
            None => counts.push((vote, 1)),
        }
    }
    let top = counts.iter().map(|&(_, n)| n).max().unwrap_or(0);
    let winners: Vec<&str> = counts.iter().filter(|&&(_, n)| n == top).map(|&(v, _)| v).collect();
    let right = winners.iter().filter(|v| is_right(v)).count();
    if winners.is_empty() { 0.0 } else { right as f64 / winners.len() as f64 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_most_frequent_answer_wins_and_ties_share() {
        let votes = |v: &[&str]| v.iter().map(|s| (!s.is_empty()).then(|| s.to_string())).collect::<Vec<_>>();
        let seven = |s: &str| s == "7";
        let majority = |votes: &[Option<String>], right| super::majority(votes, |a, b| a == b, right);
        assert_eq!(majority(&votes(&["7", "8", "7", "", ""]), seven), 1.0);
        assert_eq!(majority(&votes(&["8", "8", "7"]), seven), 0.0);
        assert_eq!(majority(&votes(&["8", "7"]), seven), 0.5);
        assert_eq!(majority(&votes(&["", ""]), seven), 0.0);
        let lengths = |a: &str, b: &str| a.len() == b.len();
        assert_eq!(super::majority(&votes(&["10", "20", "7"]), lengths, |s| s == "10"), 1.0);
    }
}
