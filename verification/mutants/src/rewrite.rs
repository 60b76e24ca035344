//! Writes the mutants of a file into it, each behind a question asked at run time.
//!
//! `a + b` with a mutant 7 becomes `(if crate::mutant(7) { (a) - (b) } else { a + b })`. Only one mutant is
//! ever active, so what a mutant replaces is taken as it was, and the text grows with the number of mutants
//! alone. A `const fn` is an ordinary one in the copy, unless something needs it while it is compiled.
//! Promises: without an active mutant the file means what it meant. What cannot be asked at run time
//! (constants) is left out and said to be.

use std::collections::HashMap;
use std::ops::Range;

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Mutant;

/// The `const fn` that tables and constants are made with.
const NEEDED_CONSTANT: [&str; 5] = ["classes", "class_of", "name_of", "new", "reciprocals"];

/// What a file becomes.
pub struct Rewritten {
    /// The text with the mutants in it.
    pub text: String,
    /// The mutants that are in it.
    pub placed: Vec<usize>,
}

/// Rewrites `source` with `mutants`, which are those of this file, each with its number.
pub fn rewrite(source: &str, mutants: &[(usize, &Mutant)]) -> Rewritten {
    let file = syn::parse_file(source).expect("the source compiles");
    let mut at: ByPlace = HashMap::new();
    for (number, mutant) in mutants {
        let start = &mutant.span.start;
        at.entry((start.line, start.column, mutant.genre.as_str()))
            .or_default()
            .push((*number, mutant.replacement.as_str()));
    }
    let mut finder = Finder {
        source,
        at,
        constant: false,
        edits: Vec::new(),
        placed: Vec::new(),
    };
    finder.visit_file(&file);
    let Finder {
        mut edits,
        mut placed,
        ..
    } = finder;
    // What is put at a place before what surrounds the expression there, and outer before inner.
    edits.sort_by_key(|edit| {
        (
            edit.range.start,
            !edit.range.is_empty(),
            std::cmp::Reverse(edit.range.end),
        )
    });
    let mut text = String::new();
    let mut rest = edits.as_slice();
    render(source, 0..source.len(), &mut rest, &mut text);
    placed.sort_unstable();
    Rewritten { text, placed }
}

/// `range` becomes `before`, then itself, then `after`; within it other edits are made.
struct Edit {
    range: Range<usize>,
    before: String,
    after: String,
}

/// Writes `range` with those of `edits` that begin in it; each lies within the one that encloses it.
fn render(source: &str, range: Range<usize>, edits: &mut &[Edit], out: &mut String) {
    let mut at = range.start;
    while let Some((edit, rest)) = edits.split_first()
        && edit.range.start < range.end
    {
        *edits = rest;
        out.push_str(&source[at..edit.range.start]);
        out.push_str(&edit.before);
        render(source, edit.range.clone(), edits, out);
        out.push_str(&edit.after);
        at = edit.range.end;
    }
    out.push_str(&source[at..range.end]);
}

/// Numbers and replacements of the mutants by line, column and genre.
type ByPlace<'a> = HashMap<(usize, usize, &'a str), Vec<(usize, &'a str)>>;

struct Finder<'a> {
    source: &'a str,
    at: ByPlace<'a>,
    /// Inside something that is computed when it is compiled.
    constant: bool,
    edits: Vec<Edit>,
    placed: Vec<usize>,
}

impl<'a> Finder<'a> {
    fn take(&mut self, start: LineColumn, genre: &'static str) -> Vec<(usize, &'a str)> {
        if self.constant {
            return Vec::new();
        }
        let found = self
            .at
            .remove(&(start.line, start.column + 1, genre))
            .unwrap_or_default();
        self.placed.extend(found.iter().map(|(number, _)| number));
        found
    }

    fn text(&self, span: Span) -> &'a str {
        &self.source[span.byte_range()]
    }

    /// `alternatives` in place of the expression at `range`.
    fn choose(&mut self, range: Range<usize>, prefix: &str, alternatives: &[(usize, String)]) {
        let mut before = format!("{prefix}(");
        for (number, alternative) in alternatives {
            before += &format!("if crate::mutant({number}) {{ {alternative} }} else ");
        }
        let (open, close) = if alternatives.is_empty() {
            ("", ")")
        } else {
            ("{ ", " })")
        };
        before += open;
        self.edits.push(Edit {
            range,
            before,
            after: close.to_owned(),
        });
    }

    fn constant(&mut self, constant: bool, visit: impl FnOnce(&mut Self)) {
        let outside = self.constant;
        self.constant |= constant;
        visit(self);
        self.constant = outside;
    }

    /// Takes the `const` off a function that has mutants in it; answers whether it has to stay.
    fn is_constant(&mut self, sig: &syn::Signature, block: &syn::Block) -> bool {
        let Some(keyword) = &sig.constness else {
            return false;
        };
        let lines = block.span().start().line..=block.span().end().line;
        let stays = NEEDED_CONSTANT.iter().any(|name| sig.ident == name);
        if !stays && self.at.keys().any(|(line, ..)| lines.contains(line)) {
            self.edits.push(Edit {
                range: keyword.span().byte_range(),
                before: "/* ".to_owned(),
                after: " */".to_owned(),
            });
        }
        stays
    }

    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let start = first.span().start();
        let mutants = self.take(start, "FnValue");
        let before: String = mutants
            .iter()
            .map(|(number, value)| format!("if crate::mutant({number}) {{ return {value}; }}\n"))
            .collect();
        let at = first.span().byte_range().start;
        self.edits.push(Edit {
            range: at..at,
            before,
            after: String::new(),
        });
    }

    fn arm(&mut self, arm: &syn::Arm) {
        let deleted = self.take(arm.pat.span().start(), "MatchArm");
        let there: String = deleted
            .iter()
            .map(|(number, _)| format!("!crate::mutant({number}) && "))
            .collect();
        if let Some((_, guard)) = &arm.guard {
            let replaced: Vec<_> = self
                .take(guard.span().start(), "MatchArmGuard")
                .into_iter()
                .map(|(number, value)| (number, value.to_owned()))
                .collect();
            if !there.is_empty() || !replaced.is_empty() {
                self.choose(guard.span().byte_range(), &there, &replaced);
            }
        } else if !there.is_empty() {
            let end = arm.pat.span().byte_range().end;
            self.edits.push(Edit {
                range: end..end,
                before: format!(" if {there}true"),
                after: String::new(),
            });
        }
    }
}

/// Whether the expression is a chain with a `let` in it, which nothing can stand around.
fn has_let(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        if !has_let(&expr.left) && !has_let(&expr.right) {
            let (left, right) = (self.text(expr.left.span()), self.text(expr.right.span()));
            let alternatives: Vec<_> = self
                .take(expr.op.span().start(), "BinaryOperator")
                .into_iter()
                .map(|(number, operator)| (number, format!("({left}) {operator} ({right})")))
                .collect();
            if !alternatives.is_empty() {
                self.choose(expr.span().byte_range(), "", &alternatives);
            }
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        let inner = self.text(expr.expr.span());
        let alternatives: Vec<_> = self
            .take(expr.op.span().start(), "UnaryOperator")
            .into_iter()
            .map(|(number, _)| (number, format!("({inner})")))
            .collect();
        if !alternatives.is_empty() {
            self.choose(expr.span().byte_range(), "", &alternatives);
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.arm(arm);
        visit::visit_arm(self, arm);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let constant = self.is_constant(&item.sig, &item.block);
        self.constant(constant, |this| {
            this.body(&item.block);
            visit::visit_item_fn(this, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let constant = self.is_constant(&item.sig, &item.block);
        self.constant(constant, |this| {
            this.body(&item.block);
            visit::visit_impl_item_fn(this, item);
        });
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(true, |this| visit::visit_item_const(this, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(true, |this| visit::visit_item_static(this, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(true, |this| visit::visit_impl_item_const(this, item));
    }

    fn visit_expr_const(&mut self, expr: &'ast syn::ExprConst) {
        self.constant(true, |this| visit::visit_expr_const(this, expr));
    }

    fn visit_expr_repeat(&mut self, expr: &'ast syn::ExprRepeat) {
        self.visit_expr(&expr.expr);
        self.constant(true, |this| this.visit_expr(&expr.len));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.constant(true, |this| visit::visit_type(this, item));
    }

    fn visit_generic_argument(&mut self, item: &'ast syn::GenericArgument) {
        self.constant(true, |this| visit::visit_generic_argument(this, item));
    }

    fn visit_pat(&mut self, item: &'ast syn::Pat) {
        self.constant(true, |this| visit::visit_pat(this, item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Region};

    fn mutant(line: usize, column: usize, genre: &str, replacement: &str) -> Mutant {
        let start = Place { line, column };
        Mutant {
            name: String::new(),
            file: String::new(),
            genre: genre.to_owned(),
            replacement: replacement.to_owned(),
            span: Region { start },
        }
    }

    fn rewritten(source: &str, mutants: &[Mutant]) -> (String, Vec<usize>) {
        let numbered: Vec<_> = mutants.iter().enumerate().collect();
        let rewritten = rewrite(source, &numbered);
        (rewritten.text, rewritten.placed)
    }

    #[test]
    fn operators_nest() {
        let source = "fn f(a: u8) -> u8 {\n    a + 1 * !a\n}";
        let mutants = [
            mutant(2, 7, "BinaryOperator", "-"),
            mutant(2, 11, "BinaryOperator", "/"),
            mutant(2, 13, "UnaryOperator", ""),
            mutant(2, 5, "FnValue", "0"),
        ];
        let expected = "fn f(a: u8) -> u8 {\n    if crate::mutant(3) { return 0; }\n\
            (if crate::mutant(0) { (a) - (1 * !a) } else { a + \
            (if crate::mutant(1) { (1) / (!a) } else { 1 * (if crate::mutant(2) { (a) } else { !a }) }) })\n}";
        assert_eq!(
            rewritten(source, &mutants),
            (expected.to_owned(), vec![0, 1, 2, 3])
        );
    }

    #[test]
    fn arms_get_guards() {
        let source = "fn f(a: u8) {\n    match a {\n        1 => {}\n        2 if a > 1 => {}\n        _ => {}\n    }\n}";
        let mutants = [
            mutant(3, 9, "MatchArm", ""),
            mutant(4, 9, "MatchArm", ""),
            mutant(4, 14, "MatchArmGuard", "true"),
        ];
        let (text, placed) = rewritten(source, &mutants);
        assert!(text.contains("1 if !crate::mutant(0) && true => {}"), "{text}");
        assert!(
            text.contains("2 if !crate::mutant(1) && (if crate::mutant(2) { true } else { a > 1 }) => {}"),
            "{text}"
        );
        assert_eq!(placed, [0, 1, 2]);
    }

    #[test]
    fn a_constant_function_that_need_not_be_one_is_an_ordinary_one() {
        let source = "pub const fn f() -> u8 {\n    1 + 1\n}\nconst fn g() {}";
        let (text, placed) = rewritten(source, &[mutant(2, 7, "BinaryOperator", "-")]);
        assert_eq!(placed, [0]);
        assert!(
            text.starts_with("pub /* const */ fn f()") && text.ends_with("const fn g() {}"),
            "{text}"
        );
    }

    #[test]
    fn what_is_constant_or_holds_a_let_is_left_out() {
        let source = "const fn new() -> u8 { 1 + 1 }\nfn g(a: [u8; 1 + 1]) -> bool { if let [b, _] = a && b == 1 {}\n true }";
        let mutants = [
            mutant(1, 26, "BinaryOperator", "-"),
            mutant(2, 16, "BinaryOperator", "-"),
            mutant(2, 50, "BinaryOperator", "||"),
            mutant(2, 55, "BinaryOperator", "!="),
        ];
        let (text, placed) = rewritten(source, &mutants);
        assert_eq!(placed, [3]);
        assert!(
            text.contains("= a && (if crate::mutant(3) { (b) != (1) } else { b == 1 })"),
            "{text}"
        );
    }
}
