//! The meanings of Unicode characters.

/// Unicode characters and their LaTeX equivalents; the characters of one entry mean the same.
const LATEX: [(&str, &str); 130] = [
    ("−–—﹣－", "-"),
    ("＋", "+"),
    ("×✕⨯", "\\times "),
    ("·⋅∙•∗＊", "\\cdot "),
    ("÷", "\\div "),
    ("∕⁄／", "/"),
    ("＝", "="),
    ("＜", "<"),
    ("＞", ">"),
    ("±", "\\pm "),
    ("∓", "\\mp "),
    ("≤⩽≦", "\\le "),
    ("≥⩾≧", "\\ge "),
    ("≠", "\\ne "),
    ("≈", "\\approx "),
    ("≡", "\\equiv "),
    ("≅", "\\cong "),
    ("∼", "\\sim "),
    ("∝", "\\propto "),
    ("∈", "\\in "),
    ("∉", "\\notin "),
    ("⊂", "\\subset "),
    ("⊆", "\\subseteq "),
    ("⊃", "\\supset "),
    ("⊇", "\\supseteq "),
    ("∪", "\\cup "),
    ("∩", "\\cap "),
    ("∖", "\\setminus "),
    ("∅⌀Ø", "\\emptyset "),
    ("∞", "\\infty "),
    ("√", "\\surd "),
    ("∛", "\\cbrt "),
    ("∜", "\\fourthroot "),
    ("°∘˚º", "^\\circ "),
    ("′’ʹ", "'"),
    ("″", "''"),
    ("⌊", "\\lfloor "),
    ("⌋", "\\rfloor "),
    ("⌈", "\\lceil "),
    ("⌉", "\\rceil "),
    ("⟨〈", "\\langle "),
    ("⟩〉", "\\rangle "),
    ("→⟶", "\\to "),
    ("←⟵", "\\leftarrow "),
    ("⇒⟹", "\\Rightarrow "),
    ("⇐⟸", "\\Leftarrow "),
    ("⇔⟺", "\\Leftrightarrow "),
    ("↦", "\\mapsto "),
    ("∣｜", "|"),
    ("∥‖", "\\parallel "),
    ("⊥", "\\perp "),
    ("∧", "\\land "),
    ("∨", "\\lor "),
    ("¬", "\\neg "),
    ("∀", "\\forall "),
    ("∃", "\\exists "),
    ("∑Σ", "\\sum "),
    ("∏", "\\prod "),
    ("∫", "\\int "),
    ("∂", "\\partial "),
    ("∇", "\\nabla "),
    ("∠", "\\angle "),
    ("△", "\\triangle "),
    ("…⋯", "\\cdots "),
    ("ℝ", "\\mathbb{R}"),
    ("ℚ", "\\mathbb{Q}"),
    ("ℤ", "\\mathbb{Z}"),
    ("ℕ", "\\mathbb{N}"),
    ("ℂ", "\\mathbb{C}"),
    ("½", "\\frac12 "),
    ("⅓", "\\frac13 "),
    ("⅔", "\\frac23 "),
    ("¼", "\\frac14 "),
    ("¾", "\\frac34 "),
    ("⅕", "\\frac15 "),
    ("⅖", "\\frac25 "),
    ("⅗", "\\frac35 "),
    ("⅘", "\\frac45 "),
    ("⅙", "\\frac16 "),
    ("⅚", "\\frac56 "),
    ("⅐", "\\frac17 "),
    ("⅛", "\\frac18 "),
    ("⅜", "\\frac38 "),
    ("⅝", "\\frac58 "),
    ("⅞", "\\frac78 "),
    ("⅑", "\\frac19 "),
    ("⅒", "\\frac1{10}"),
    ("，、", ","),
    ("；", ";"),
    ("：", ":"),
    ("（", "("),
    ("）", ")"),
    ("［【", "["),
    ("］】", "]"),
    ("％﹪", "\\%"),
    ("‰", "\\permille "),
    ("！", "!"),
    ("。．", "."),
    ("\u{a0}\u{2009}\u{202f}\u{3000}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}", " "),
    ("α", "\\alpha "),
    ("β", "\\beta "),
    ("γ", "\\gamma "),
    ("δ", "\\delta "),
    ("εϵ", "\\epsilon "),
    ("ζ", "\\zeta "),
    ("η", "\\eta "),
    ("θϑ", "\\theta "),
    ("ι", "\\iota "),
    ("κ", "\\kappa "),
    ("λ", "\\lambda "),
    ("μµ", "\\mu "),
    ("ν", "\\nu "),
    ("ξ", "\\xi "),
    ("π", "\\pi "),
    ("ρ", "\\rho "),
    ("σς", "\\sigma "),
    ("τ", "\\tau "),
    ("υ", "\\upsilon "),
    ("φϕ", "\\phi "),
    ("χ", "\\chi "),
    ("ψ", "\\psi "),
    ("ω", "\\omega "),
    ("Γ", "\\Gamma "),
    ("Δ", "\\Delta "),
    ("Θ", "\\Theta "),
    ("Λ", "\\Lambda "),
    ("Ξ", "\\Xi "),
    ("Φ", "\\Phi "),
    ("Ψ", "\\Psi "),
    ("Ω", "\\Omega "),
];

/// The LaTeX equivalent of a Unicode character, which the tokenizer substitutes. `None` for any other character.
pub(in crate::verify::math) fn latex_of(c: char) -> Option<&'static str> {
    // Most characters are ASCII, which stands for itself.
    if c.is_ascii() {
        return None;
    }
    LATEX.iter().find(|(characters, _)| characters.contains(c)).map(|(_, latex)| *latex)
}

/// True if a character has no glyph: format characters and all others that Unicode ignores by default.
pub(in crate::verify) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The base character of a superscript (`true`) or subscript (`false`) character.
pub(in crate::verify::math) fn script_of(c: char) -> Option<(bool, char)> {
    let sup = |d| Some((true, d));
    let sub = |d| Some((false, d));
    match c {
        '⁰' => sup('0'),
        '¹' => sup('1'),
        '²' => sup('2'),
        '³' => sup('3'),
        '⁴'..='⁹' => sup(char::from(b'4' + (c as u32 - '⁴' as u32) as u8)),
        '⁺' => sup('+'),
        '⁻' => sup('-'),
        '⁽' => sup('('),
        '⁾' => sup(')'),
        'ⁿ' => sup('n'),
        'ⁱ' => sup('i'),
        'ˣ' => sup('x'),
        '₀'..='₉' => sub(char::from(b'0' + (c as u32 - '₀' as u32) as u8)),
        '₊' => sub('+'),
        '₋' => sub('-'),
        'ₐ' => sub('a'),
        'ₓ' => sub('x'),
        'ₙ' => sub('n'),
        'ᵢ' => sub('i'),
        'ⱼ' => sub('j'),
        'ₖ' => sub('k'),
        _ => None,
    }
}

/// The value of a decimal digit of any script (Unicode category Nd). Each script has ten consecutive digits.
pub(in crate::verify::math) fn digit_of(c: char) -> Option<u8> {
    if c.is_ascii_digit() {
        return Some(c as u8 - b'0');
    }
    // The zero digits of all scripts, in ascending order.
    const ZEROS: [u32; 37] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
        0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
        0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x1D7CE,
    ];
    let at = ZEROS.partition_point(|&zero| zero <= c as u32).checked_sub(1)?;
    let offset = c as u32 - ZEROS[at];
    // The mathematical digits from U+1D7CE have five styles of ten.
    let styles = if ZEROS[at] == 0x1D7CE { 50 } else { 10 };
    (offset < styles).then_some((offset % 10) as u8)
}
