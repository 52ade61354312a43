// The languages that highlight.js can colour.

const words = (text) => new Set(text.trim().split(/\s+/));
const C_COMMENT = "\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$(?![^]))";
const HASH_COMMENT = "#[^\\n]*";
const QUOTED = `"(?:[^"\\\\\\n]|\\\\[^])*(?:"|$)`;
const SINGLE = `'(?:[^'\\\\\\n]|\\\\[^])*(?:'|$)`;
const BACKTICK = "`(?:[^`\\\\]|\\\\[^])*(?:`|$(?![^]))";

const C_WORDS = `auto break case const continue default do else enum extern for goto if inline register restrict return signed sizeof
static struct switch typedef union unsigned void volatile while char double float int long short bool true false NULL`;
const JS_WORDS = `async await break case catch class const continue debugger default delete do else export extends finally for from function
get if import in instanceof let new of return set static super switch this throw try typeof var void while with yield true false null undefined NaN`;

/**
 * By language: regular expressions for comments, strings and `meta` (attributes, variables, directives), and the set of
 * keywords. Optional: `keyword` (a pattern), `macro` (name! is a call), `ignoreCase`, `keys` (strings before a colon
 * are names), `assigned` (words before this character are names).
 */
export const LANGUAGES = {
  rust: {
    comment: C_COMMENT, string: `b?r(?<hashes>#*)"[^]*?(?:"\\k<hashes>|$(?![^]))|b?${QUOTED}|b?'(?:[^'\\\\\\n]|\\\\(?:[^xu]|x[\\da-fA-F]{2}|u\\{[\\da-fA-F_]{1,8}\\}))'`, meta: "#!?\\[[^\\]\\n]*\\]|'[a-z_]\\w*", macro: true,
    words: words(`as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self
      Self static struct super trait true type union unsafe use where while i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 bool char str`),
  },
  python: {
    comment: HASH_COMMENT, string: `[rRbBfFuU]{0,2}(?:"""[^]*?(?:"""|$(?![^]))|'''[^]*?(?:'''|$(?![^]))|${QUOTED}|${SINGLE})`, meta: "@[\\w.]+",
    words: words(`and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal
      not or pass raise return try while with yield True False None self`),
  },
  javascript: { comment: C_COMMENT, string: `${QUOTED}|${SINGLE}|${BACKTICK}`, meta: "@\\w+", words: words(JS_WORDS) },
  typescript: {
    comment: C_COMMENT, string: `${QUOTED}|${SINGLE}|${BACKTICK}`, meta: "@\\w+",
    words: words(`${JS_WORDS} abstract any as asserts bigint boolean declare enum implements infer interface is keyof namespace never number object private
      protected public readonly satisfies string symbol type unknown`),
  },
  c: { comment: C_COMMENT, string: `${QUOTED}|${SINGLE}`, meta: "^[ \\t]*#[ \\t]*\\w+", words: words(C_WORDS) },
  cpp: {
    comment: C_COMMENT, string: `R"\\([^]*?(?:\\)"|$(?![^]))|${QUOTED}|${SINGLE}`, meta: "^[ \\t]*#[ \\t]*\\w+|__\\w+__",
    words: words(`${C_WORDS} alignas and catch class concept consteval constexpr co_await co_return co_yield decltype delete explicit export final friend
      mutable namespace new noexcept not nullptr operator or override private protected public requires static_assert template this throw try typename
      using virtual wchar_t`),
  },
  java: {
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$(?![^]))|${QUOTED}|${SINGLE}`, meta: "@\\w+",
    words: words(`abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for if
      implements import instanceof int interface long native new package permits private protected public record return sealed short static super switch
      synchronized this throw throws transient try var void volatile while yield true false null`),
  },
  kotlin: {
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$(?![^]))|${QUOTED}|${SINGLE}`, meta: "@\\w+",
    words: words(`abstract as break by catch class companion const constructor continue data do else enum false final finally for fun get if import in init
      inline interface internal is lateinit null object open operator out override package private protected public return sealed set super suspend this
      throw true try typealias val var vararg when where while`),
  },
  go: {
    comment: C_COMMENT, string: `${QUOTED}|${SINGLE}|${BACKTICK}`,
    words: words(`break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct
      switch type var true false nil iota any bool byte complex128 complex64 error float32 float64 int int16 int32 int64 int8 rune string uint uint16 uint32
      uint64 uint8 uintptr`),
  },
  csharp: {
    comment: C_COMMENT, string: `[$@]{0,2}${QUOTED}|${SINGLE}`, meta: "^[ \\t]*#\\w+",
    words: words(`abstract as async await base bool break byte case catch char checked class const continue decimal default delegate do double else enum
      event explicit extern false finally fixed float for foreach get if implicit in init int interface internal is lock long namespace new null object
      operator out override params private protected public readonly record ref return sbyte sealed set short sizeof static string struct switch this
      throw true try typeof uint ulong unchecked unsafe ushort using var virtual void volatile where while yield`),
  },
  swift: {
    comment: C_COMMENT, string: `"""[^]*?(?:"""|$(?![^]))|${QUOTED}`, meta: "@\\w+|#\\w+",
    words: words(`actor any as associatedtype async await break case catch class continue default defer deinit do else enum extension fallthrough false
      fileprivate final for func guard if import in init inout internal is lazy let mutating nil nonisolated open operator override private protocol public
      repeat required return self Self some static struct subscript super switch throw throws true try typealias var weak where while`),
  },
  bash: {
    comment: "(?:^|(?<=[\\s;]))#[^\\n]*", string: `"(?:[^"\\\\]|\\\\[^])*(?:"|$(?![^]))|'[^']*(?:'|$(?![^]))`, meta: "\\$\\{[^}\\n]*\\}|\\$[\\w@#?*!$-]+|(?<=\\s)--?[a-zA-Z][\\w-]*",
    words: words(`if then else elif fi for in do done while until case esac function return local export set unset source alias echo cd exit sudo trap shift
      read exec eval test true false`),
  },
  sql: {
    comment: "--[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$(?![^]))", string: "'(?:[^']|'')*(?:'|$(?![^]))|\"[^\"\\n]*(?:\"|$(?![^]))", ignoreCase: true,
    words: words(`add all alter and any as asc between begin bigint boolean by cascade case cast char check column commit constraint create cross current
      date decimal default delete desc distinct drop else end except exists explain false filter first float foreign from full function group having if in
      index inner insert int integer intersect into is join key last left like limit not null numeric offset on or order outer over partition primary
      recursive references returning right rollback row rows select serial set smallint table text then timestamp true truncate union unique update using
      values varchar view when where window with`),
  },
  ruby: {
    comment: HASH_COMMENT, string: `${QUOTED}|${SINGLE}`, meta: "@{1,2}\\w+|:[a-z_]\\w*",
    words: words(`alias and begin break case class def defined do else elsif end ensure false for if in include module next nil not or private puts raise
      redo require rescue retry return self super then true undef unless until when while yield`),
  },
  php: {
    comment: `${C_COMMENT}|#(?!\\[)[^\\n]*`, string: `${QUOTED}|${SINGLE}`, meta: "\\$\\w+|<\\?php|\\?>",
    words: words(`abstract and array as break case catch class const continue declare default do echo else elseif extends final finally fn for foreach
      function global if implements include instanceof interface isset match namespace new null or private protected public readonly require return static
      switch this throw trait true try unset use var while yield false int string bool float void`),
  },
  lua: {
    comment: "--\\[\\[[^]*?(?:\\]\\]|$(?![^]))|--[^\\n]*", string: `${QUOTED}|${SINGLE}|\\[\\[[^]*?(?:\\]\\]|$(?![^]))`,
    words: words("and break do else elseif end false for function goto if in local nil not or repeat return then true until while self"),
  },
  haskell: {
    comment: "--[^\\n]*|\\{-[^]*?(?:-\\}|$(?![^]))", string: QUOTED,
    words: words("as case class data default deriving do else forall foreign hiding if import in infix infixl infixr instance let module newtype of qualified then type where"),
  },
  julia: {
    comment: `#=[^]*?(?:=#|$(?![^]))|${HASH_COMMENT}`, string: `"""[^]*?(?:"""|$(?![^]))|${QUOTED}`, meta: "@\\w+",
    words: words(`abstract and begin break catch const continue do else elseif end export false finally for function global if import in let local macro module
      mutable nothing primitive quote return struct true try using where while`),
  },
  json: { comment: C_COMMENT, string: QUOTED, keys: true, words: words("true false null") },
  toml: { comment: HASH_COMMENT, string: `"""[^]*?(?:"""|$(?![^]))|'''[^]*?(?:'''|$(?![^]))|${QUOTED}|${SINGLE}`, meta: "^[ \\t]*\\[{1,2}[^\\]\\n]*\\]{1,2}", assigned: "=", words: words("true false") },
  yaml: { comment: "(?:^|(?<=\\s))#[^\\n]*", string: `${QUOTED}|${SINGLE}`, meta: "[&*]\\w+", assigned: ":", words: words("true false null yes no on off") },
  css: { comment: "\\/\\*[^]*?(?:\\*\\/|$(?![^]))", string: `${QUOTED}|${SINGLE}`, meta: "@[\\w-]+|#[\\da-fA-F]{3,8}\\b|--[\\w-]+", assigned: ":", words: words("important from to and not only") },
  xml: {
    comment: "<!--[^]*?(?:-->|$(?![^]))", string: "(?<==\\s*)(?:\"[^\"]*(?:\"|$(?![^]))|'[^']*(?:'|$(?![^])))", keyword: "<\\/?[a-zA-Z][\\w:.-]*|\\/?>|<!\\w+", meta: "&\\w+;|[\\w:@.-]+(?==[\"'])", words: words(""),
  },
  tex: { comment: "%[^\\n]*", string: "\\$[^$\\n]*\\$", keyword: "\\\\[a-zA-Z@]+\\*?|\\\\.", words: words("") },
  make: { comment: HASH_COMMENT, string: `${QUOTED}|${SINGLE}`, meta: "\\$\\([^)\\n]*\\)|\\$[@<^*?]|^[\\w.-]+(?=\\s*:)", words: words("ifeq ifneq ifdef ifndef else endif include define endef export") },
  docker: { comment: HASH_COMMENT, string: `${QUOTED}|${SINGLE}`, meta: "\\$\\{?\\w+\\}?", words: words("FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL AS") },
};

export const ALIASES = {
  rs: "rust", py: "python", python3: "python", ipython: "python", pycon: "python", js: "javascript", jsx: "javascript", mjs: "javascript", node: "javascript", ts: "typescript",
  tsx: "typescript", h: "c", objc: "c", cc: "cpp", cxx: "cpp", "c++": "cpp", hpp: "cpp", cuda: "cpp", cu: "cpp", glsl: "cpp", wgsl: "rust", zig: "rust", scala: "kotlin", kt: "kotlin", golang: "go",
  cs: "csharp", "c#": "csharp", dart: "java", sh: "bash", shell: "bash", zsh: "bash", console: "bash", shellsession: "bash", fish: "bash", mysql: "sql", postgresql: "sql",
  sqlite: "sql", rb: "ruby", hs: "haskell", jl: "julia", jsonc: "json", json5: "json", jsonl: "json", ini: "toml", yml: "yaml", scss: "css", less: "css", html: "xml",
  svg: "xml", vue: "xml", latex: "tex", makefile: "make", dockerfile: "docker", r: "python",
};
