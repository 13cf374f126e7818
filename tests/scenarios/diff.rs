//! What differs between two texts, line by line, with a little of what surrounds it.

const AROUND: usize = 3;

/// Lines of `before` with `-`, of `after` with `+`, common ones only near a difference.
pub(crate) fn lines(before: &str, after: &str) -> String {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // common[i][j]: the longest common part of before[i..] and after[j..].
    let mut common = vec![vec![0usize; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = if before[i] == after[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            marked.push((' ', before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && common[i + 1][j] >= common[i][j + 1]) {
            marked.push(('-', before[i]));
            i += 1;
        } else {
            marked.push(('+', after[j]));
            j += 1;
        }
    }
    let near = |at: usize| {
        let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(marked.len());
        marked[around].iter().any(|(mark, _)| *mark != ' ')
    };
    let shown = (0..marked.len()).filter(|at| near(*at));
    let shown = shown.map(|at| format!("{}{}", marked[at].0, marked[at].1));
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_difference_is_shown_with_its_surroundings() {
    let before = "a\nb\nc\nd\ne\nf\ng\nh\ni";
    let shown = lines(before, "a\nb\nc\nd\nE\nf\ng\nh\ni");
    assert_eq!(shown, " b\n c\n d\n-e\n+E\n f\n g\n h");
}
