// TeX's symbol names, one table of "name character" pairs per spacing class.

const pairs = (text) => new Map(text.trim().split(/\s+/).map((word, i, all) => (i % 2 ? null : [word, all[i + 1]])).filter(Boolean));

/** Variables, set in italics. */
export const LETTERS = pairs(`
alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ varkappa ϰ
lambda λ mu μ nu ν xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi ϕ varphi φ
chi χ psi ψ omega ω digamma ϝ imath ı jmath ȷ`);

/** Upright letters and signs. */
export const UPRIGHT = pairs(`
Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω
infty ∞ partial ∂ nabla ∇ hbar ℏ hslash ℏ ell ℓ Re ℜ Im ℑ wp ℘ aleph ℵ beth ℶ gimel ℷ emptyset ∅ varnothing ∅
angle ∠ measuredangle ∡ triangle △ square □ Box □ blacksquare ■ qedsymbol ∎ diamond ⋄ Diamond ◇ lozenge ◊ bigstar ★
top ⊤ bot ⊥ neg ¬ lnot ¬ prime ′ backprime ‵ forall ∀ exists ∃ nexists ∄ complement ∁ flat ♭ natural ♮ sharp ♯ clubsuit ♣
diamondsuit ♢ heartsuit ♡ spadesuit ♠ checkmark ✓ dag † ddag ‡ S § P ¶ copyright © pounds £ degree ° eth ð mho ℧
ldots … dots … dotsc … dotso … cdots ⋯ dotsb ⋯ dotsm ⋯ dotsi ⋯ vdots ⋮ ddots ⋱ surd √ Bbbk 𝕜 L Ł l ł AA Å ss ß o ø
blacktriangle ▲ triangledown ▽ circledS Ⓢ # # $ $ % % & & _ _`);

/** Binary operators. */
export const BINARY = pairs(`
pm ± mp ∓ times × div ÷ cdot ⋅ ast ∗ star ⋆ circ ∘ bullet ∙ cap ∩ cup ∪ uplus ⊎ sqcap ⊓ sqcup ⊔ vee ∨ lor ∨ wedge ∧
land ∧ setminus ∖ smallsetminus ∖ wr ≀ oplus ⊕ ominus ⊖ otimes ⊗ oslash ⊘ odot ⊙ amalg ⨿ dagger † ddagger ‡
bigtriangleup △ bigtriangledown ▽ triangleleft ◁ triangleright ▷ bigcirc ◯ boxplus ⊞ boxminus ⊟ boxtimes ⊠ boxdot ⊡
ltimes ⋉ rtimes ⋊ Cap ⋒ Cup ⋓ veebar ⊻ barwedge ⌅ curlyvee ⋎ curlywedge ⋏ divideontimes ⋇ intercal ⊺ dotplus ∔`);

/** Relations and arrows. */
export const RELATIONS = pairs(`
leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ ll ≪ gg ≫ lll ⋘ ggg ⋙ prec ≺ succ ≻ preceq ⪯ succeq ⪰ sim ∼ simeq ≃ approx ≈
cong ≅ equiv ≡ propto ∝ varpropto ∝ asymp ≍ doteq ≐ models ⊨ perp ⟂ mid ∣ nmid ∤ parallel ∥ nparallel ∦ subset ⊂
supset ⊃ subseteq ⊆ supseteq ⊇ subsetneq ⊊ supsetneq ⊋ nsubseteq ⊈ nsupseteq ⊉ sqsubset ⊏ sqsupset ⊐ sqsubseteq ⊑
sqsupseteq ⊒ in ∈ notin ∉ ni ∋ owns ∋ vdash ⊢ dashv ⊣ vDash ⊨ Vdash ⊩ nvdash ⊬ nvDash ⊭ bowtie ⋈ leqslant ⩽
geqslant ⩾ leqq ≦ geqq ≧ lesssim ≲ gtrsim ≳ lessapprox ⪅ gtrapprox ⪆ nless ≮ ngtr ≯ nleq ≰ ngeq ≱ lneq ⪇ gneq ⪈
triangleq ≜ coloneqq ≔ eqqcolon ≕ approxeq ≊ backsim ∽ smile ⌣ frown ⌢ between ≬ pitchfork ⋔ therefore ∴ because ∵
trianglelefteq ⊴ trianglerighteq ⊵ vartriangleleft ⊲ vartriangleright ⊳ nsim ≁ ncong ≇ lt < gt > colon :
to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ uparrow ↑ downarrow ↓ updownarrow ↕ Rightarrow ⇒ Leftarrow ⇐
Leftrightarrow ⇔ Uparrow ⇑ Downarrow ⇓ Updownarrow ⇕ implies ⟹ impliedby ⟸ iff ⟺ longrightarrow ⟶ longleftarrow ⟵
longleftrightarrow ⟷ Longrightarrow ⟹ Longleftarrow ⟸ Longleftrightarrow ⟺ mapsto ↦ longmapsto ⟼ hookrightarrow ↪
hookleftarrow ↩ rightharpoonup ⇀ rightharpoondown ⇁ leftharpoonup ↼ leftharpoondown ↽ rightleftharpoons ⇌
leftrightharpoons ⇋ nearrow ↗ searrow ↘ swarrow ↙ nwarrow ↖ rightrightarrows ⇉ leftleftarrows ⇇ twoheadrightarrow ↠
rightsquigarrow ⇝ leadsto ⇝ nrightarrow ↛ nleftarrow ↚ nRightarrow ⇏ nLeftarrow ⇍ nLeftrightarrow ⇎ circlearrowleft ↺
circlearrowright ↻ curvearrowright ↷ curvearrowleft ↶ upharpoonright ↾ restriction ↾ dashrightarrow ⇢ dashleftarrow ⇠`);

/** Big operators: limits above and below in display style. */
export const BIG = pairs(`
sum ∑ prod ∏ coprod ∐ bigcup ⋃ bigcap ⋂ bigvee ⋁ bigwedge ⋀ bigoplus ⨁ bigotimes ⨂ bigodot ⨀ biguplus ⨄ bigsqcup ⨆`);

/** Integrals: limits to the right. */
export const INTEGRALS = pairs(`int ∫ iint ∬ iiint ∭ iiiint ⨌ oint ∮ oiint ∯ oiiint ∰ smallint ∫`);

/** Brackets, also after \\left, \\right, \\middle and \\big. */
export const OPENING = pairs(`( ( [ [ lbrace { { { langle ⟨ lfloor ⌊ lceil ⌈ lvert | lVert ‖ lbrack [ ulcorner ⌜ llcorner ⌞ lgroup ⟮ lmoustache ⎰ llbracket ⟦`);
export const CLOSING = pairs(`) ) ] ] rbrace } } } rangle ⟩ rfloor ⌋ rceil ⌉ rvert | rVert ‖ rbrack ] urcorner ⌝ lrcorner ⌟ rgroup ⟯ rmoustache ⎱ rrbracket ⟧`);
export const FENCES = pairs(`| | vert | Vert ‖ | ‖ / / backslash \\ uparrow ↑ downarrow ↓ updownarrow ↕ Uparrow ⇑ Downarrow ⇓ < ⟨ > ⟩`);

/** Function names, set upright. The subscript of those in LIMITS goes underneath. */
export const FUNCTIONS = new Set(`sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth sech csch log ln lg exp
arg deg dim hom ker sgn tr rank erf Pr det gcd lcm inf sup lim liminf limsup max min argmax argmin injlim projlim softmax diag`.split(/\s+/));
export const LIMITS = new Set("Pr det gcd lcm inf sup lim liminf limsup max min argmax argmin injlim projlim".split(" "));
export const FUNCTION_TEXT = new Map([["liminf", "lim inf"], ["limsup", "lim sup"], ["argmax", "arg max"], ["argmin", "arg min"], ["injlim", "inj lim"], ["projlim", "proj lim"]]);

/** Accents above or below their argument; true if they stretch. */
export const ACCENTS = new Map([
  ["hat", ["^", false]], ["widehat", ["^", true]], ["tilde", ["~", false]], ["widetilde", ["~", true]], ["bar", ["¯", false]],
  ["vec", ["→", false]], ["dot", ["˙", false]], ["ddot", ["¨", false]], ["dddot", ["⃛", false]],
  ["acute", ["´", false]], ["grave", ["`", false]], ["check", ["ˇ", false]], ["breve", ["˘", false]], ["mathring", ["˚", false]],
  ["overrightarrow", ["→", true]], ["overleftarrow", ["←", true]], ["overleftrightarrow", ["↔", true]], ["overbrace", ["⏞", true]],
  ["overbracket", ["⎴", true]], ["overparen", ["⏜", true]], ["widecheck", ["ˇ", true]], ["Vec", ["→", false]],
]);
export const UNDER_ACCENTS = new Map([["underbrace", "⏟"], ["underbracket", "⎵"], ["underrightarrow", "→"], ["underleftarrow", "←"], ["underparen", "⏝"]]);

/** Widths of spaces in em. */
export const SPACES = new Map([[",", 0.1667], ["thinspace", 0.1667], [":", 0.2222], [">", 0.2222], ["medspace", 0.2222], [";", 0.2778],
  ["thickspace", 0.2778], ["!", -0.1667], ["negthinspace", -0.1667], [" ", 0.25], ["\n", 0.25], ["space", 0.25], ["nobreakspace", 0.25], ["~", 0.25], ["enspace", 0.5], ["enskip", 0.5],
  ["quad", 1], ["qquad", 2]]);

/** Negated relations that exist as one character. */
export const NEGATED = new Map([["=", "≠"], ["∈", "∉"], ["∋", "∌"], ["<", "≮"], [">", "≯"], ["≤", "≰"], ["≥", "≱"], ["∼", "≁"], ["≈", "≉"], ["≡", "≢"],
  ["≅", "≇"], ["∣", "∤"], ["∥", "∦"], ["⊂", "⊄"], ["⊃", "⊅"], ["⊆", "⊈"], ["⊇", "⊉"], ["∃", "∄"], ["⊢", "⊬"], ["⊨", "⊭"], ["→", "↛"], ["⇒", "⇏"], ["⇔", "⇎"]]);

// Mathematical alphanumerics: the code points of A, a, 0, Alpha and alpha in each alphabet, and the letters that
// Unicode encodes elsewhere.
const ALPHABETS = {
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce, 0x1d6a8, 0x1d6c2], mathit: [0x1d434, 0x1d44e, 0, 0x1d6e2, 0x1d6fc],
  boldsymbol: [0x1d468, 0x1d482, 0x1d7ce, 0x1d71c, 0x1d736], mathcal: [0x1d49c, 0x1d4b6, 0, 0, 0], mathfrak: [0x1d504, 0x1d51e, 0, 0, 0],
  mathbb: [0x1d538, 0x1d552, 0x1d7d8, 0, 0], mathsf: [0x1d5a0, 0x1d5ba, 0x1d7e2, 0, 0], mathtt: [0x1d670, 0x1d68a, 0x1d7f6, 0, 0],
};
const ELSEWHERE = {
  mathit: { h: "ℎ" },
  mathcal: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  mathfrak: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  mathbb: { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};

/** The letter in an alphabet ("mathbb", "mathbf", …), or the letter itself if the alphabet does not contain it. */
export function inAlphabet(c, alphabet) {
  const elsewhere = ELSEWHERE[alphabet];
  if (elsewhere && Object.hasOwn(elsewhere, c)) return elsewhere[c];
  const starts = ALPHABETS[alphabet];
  if (!starts) return c;
  const code = c.codePointAt(0);
  const at = (start, first) => (start ? String.fromCodePoint(start + code - first) : c);
  if (c >= "A" && c <= "Z") return at(starts[0], 65);
  if (c >= "a" && c <= "z") return at(starts[1], 97);
  if (c >= "0" && c <= "9") return at(starts[2], 48);
  if (c >= "Α" && c <= "Ω") return at(starts[3], 0x391);
  if (c >= "α" && c <= "ω") return at(starts[4], 0x3b1);
  return c;
}
