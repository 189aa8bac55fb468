//! Owns columns: rows of cells, each column as wide as its widest cell.

/// Lays out rows, two spaces between columns, each line indented by `indent` spaces. The last column is not padded, and
/// a row without cells is an empty line.
pub(super) fn columns(indent: usize, rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        if row.is_empty() {
            text.push('\n');
            continue;
        }
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(&" ".repeat(indent));
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_as_wide_as_its_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(columns(1, &[row(["a", "é", "c"]), row(["aaa", "bb", ""])]), " a    é   c\n aaa  bb\n");
        assert_eq!(columns(1, &[]), "");
    }
}
