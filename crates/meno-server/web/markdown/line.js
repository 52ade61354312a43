// A line of Markdown, read column by column.

/** One line of Markdown with a read position. A tab advances to the next multiple of four columns. */
export class Line {
  constructor(text) {
    Object.assign(this, { text, at: 0, column: 0, split: false });
    this.measureIndent();
  }

  measureIndent() {
    let column = this.column;
    let i = this.at;
    for (; this.text[i] === " " || this.text[i] === "\t"; i += 1) column += this.text[i] === " " ? 1 : 4 - (column % 4);
    this.next = i;
    this.indent = column - this.column;
    this.blank = i === this.text.length;
    return this;
  }

  /** True if the indentation is deep enough for an indented code block. */
  get isIndented() {
    return this.indent >= 4;
  }

  /** The text after the indentation. */
  get content() {
    return this.text.slice(this.next);
  }

  skipIndent() {
    this.column += this.indent;
    this.at = this.next;
    this.split = false;
    return this.measureIndent();
  }

  skip(characters) {
    this.at += characters;
    this.column += characters;
    this.split = false;
    return this.measureIndent();
  }

  /** Advances by `columns`; may stop inside a tab. */
  skipColumns(columns) {
    for (let left = columns; left > 0 && this.at < this.text.length; ) {
      const width = this.text[this.at] === "\t" ? 4 - (this.column % 4) : 1;
      this.split = width > left;
      this.column += Math.min(width, left);
      if (!this.split) this.at += 1;
      left -= width;
    }
    return this.measureIndent();
  }

  /** Skips the one optional column of space after a quote marker. */
  skipMarkerSpace() {
    return this.indent > 0 ? this.skipColumns(1) : this;
  }

  /** The rest of the line, with the remainder of a split tab as spaces. */
  rest() {
    return this.split ? " ".repeat(4 - (this.column % 4)) + this.text.slice(this.at + 1) : this.text.slice(this.at);
  }
}
