//! Maps the tokens of sequences to pages of a KV cache. This is bookkeeping on the host only; the backend holds the
//! keys and values ([`crate::backend::KvStore`]).
//!
//! A sequence has a *slot*: a table of the pages that hold its tokens, [`PAGE`] tokens per page. Slots can share pages,
//! so a prompt that several sequences share is stored once. Before a slot writes to a shared page, it gets its own copy
//! ([`PageTable::reserve`]).

use std::ops::Range;

/// Tokens per page.
pub const PAGE: usize = 64;

/// Returns the number of pages for `tokens` tokens.
pub fn pages(tokens: usize) -> usize {
    tokens.div_ceil(PAGE)
}

/// The pages of every slot.
pub struct PageTable {
    /// Number of slots (and holders of a taken page) that use each page.
    refs: Vec<u32>,
    /// Unused pages; the last one is allocated next.
    free: Vec<u32>,
    /// The pages of every slot.
    tables: Vec<Vec<u32>>,
    /// Slots that are not in use.
    closed: Vec<usize>,
    /// Copies to make before the next pass.
    copies: Vec<PageCopy>,
}

/// The content of page `from` must be copied to page `to` before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCopy {
    /// The shared page.
    pub from: u32,
    /// The page that replaces it.
    pub to: u32,
}

impl PageTable {
    /// Creates an empty table of `pages` pages.
    pub fn new(pages: usize) -> Self {
        let free = (0..pages as u32).rev().collect();
        PageTable { refs: vec![0; pages], free, tables: Vec::new(), closed: Vec::new(), copies: Vec::new() }
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.refs.len()
    }

    /// Returns the number of unused pages.
    pub fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// Opens a new, empty slot.
    pub fn open(&mut self) -> usize {
        self.closed.pop().unwrap_or_else(|| {
            self.tables.push(Vec::new());
            self.tables.len() - 1
        })
    }

    /// Opens a new slot with these pages.
    pub fn open_with(&mut self, table: &[u32]) -> usize {
        let slot = self.open();
        self.tables[slot].extend_from_slice(table);
        table.iter().for_each(|&page| self.refs[page as usize] += 1);
        slot
    }

    /// Closes a slot and frees the pages that only it uses.
    pub fn close(&mut self, slot: usize) {
        self.truncate(slot, 0);
        self.closed.push(slot);
    }

    /// Drops all tokens of a slot except the first `len`.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        while self.tables[slot].len() > pages(len) {
            let page = self.tables[slot].pop().expect("invariant: longer than the pages to keep");
            self.release(page);
        }
    }

    /// Takes a page that no slot uses yet, to be filled from another source. Call [`PageTable::release`] once slots use
    /// it.
    pub fn take_page(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.refs[page as usize] = 1;
        Some(page)
    }

    /// Ends one use of a page; a page without users is free.
    pub fn release(&mut self, page: u32) {
        let refs = &mut self.refs[page as usize];
        *refs -= 1;
        if *refs == 0 {
            self.free.push(page);
        }
    }

    /// Returns the pages of a slot, in the order of its tokens.
    pub fn table(&self, slot: usize) -> &[u32] {
        &self.tables[slot]
    }

    /// Sets the content of slot `to` to the first `len` tokens of slot `from`, by sharing their pages.
    pub fn fork(&mut self, from: usize, to: usize, len: usize) {
        if from == to {
            return;
        }
        self.truncate(to, 0);
        let mut table = std::mem::take(&mut self.tables[to]);
        table.extend_from_slice(&self.tables[from][..pages(len)]);
        table.iter().for_each(|&page| self.refs[page as usize] += 1);
        self.tables[to] = table;
    }

    /// Returns the number of free pages needed to write the tokens `range` of a slot.
    pub fn pages_needed(&self, slot: usize, range: Range<usize>) -> usize {
        let table = &self.tables[slot];
        let written = range.start / PAGE..pages(range.end);
        let shared = table.iter().skip(written.start).take(written.len()).filter(|&&p| self.refs[p as usize] > 1);
        shared.count() + written.end.saturating_sub(table.len())
    }

    /// Gives a slot exclusive pages for the tokens `range` that are about to be written, and records which pages must
    /// be copied first. [`PageTable::pages_needed`] returns in advance how many free pages this takes.
    ///
    /// # Panics
    /// Panics if there are not enough free pages.
    pub fn reserve(&mut self, slot: usize, range: Range<usize>) {
        let Range { start, end } = range;
        assert!(start <= self.tables[slot].len() * PAGE, "invariant: no gap before token {start}");
        for i in start / PAGE..pages(end) {
            let shared = self.tables[slot].get(i).copied();
            if shared.is_some_and(|page| self.refs[page as usize] == 1) {
                continue;
            }
            let page = self.free.pop().expect("invariant: the caller left enough pages free");
            self.refs[page as usize] = 1;
            match shared {
                None => self.tables[slot].push(page),
                Some(from) => {
                    self.copies.push(PageCopy { from, to: page });
                    self.tables[slot][i] = page;
                    self.release(from);
                }
            }
        }
    }

    /// Returns the pending copies, in order. The caller must make them before anything is written.
    pub(crate) fn take_copies(&mut self) -> impl Iterator<Item = PageCopy> + '_ {
        self.copies.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table, and for every page the last value written for each of its tokens.
    struct Pages {
        table: PageTable,
        values: Vec<[f32; PAGE]>,
    }

    impl Pages {
        /// Writes `value` for the tokens `past..end` of a slot.
        fn write(&mut self, slot: usize, past: usize, end: usize, value: f32) {
            let (before, needed) = (self.table.free_pages(), self.table.pages_needed(slot, past..end));
            self.table.reserve(slot, past..end);
            let values = &mut self.values;
            self.table.take_copies().for_each(|copy| values[copy.to as usize] = values[copy.from as usize]);
            assert_eq!(before - self.table.free_pages(), needed);
            for at in past..end {
                self.values[self.table.table(slot)[at / PAGE] as usize][at % PAGE] = value;
            }
        }

        fn read(&self, slot: usize, len: usize) -> Vec<f32> {
            (0..len).map(|at| self.values[self.table.table(slot)[at / PAGE] as usize][at % PAGE]).collect()
        }
    }

    #[test]
    fn a_shared_prompt_is_stored_once_and_copied_before_it_is_written() {
        let mut pages = Pages { table: PageTable::new(8), values: vec![[0.0; PAGE]; 8] };
        let (a, b) = (pages.table.open(), pages.table.open());
        pages.write(a, 0, 150, 1.0); // three pages
        pages.table.fork(a, b, 140);
        assert_eq!(pages.table.free_pages(), 5);
        pages.write(b, 140, 200, 2.0); // a copy of the third page, and a fourth
        assert_eq!(pages.table.free_pages(), 3);
        pages.write(a, 150, 151, 3.0); // exclusive again
        assert_eq!(pages.table.free_pages(), 3);
        let tail = |value: f32, n| std::iter::repeat_n(value, n);
        assert_eq!(pages.read(a, 151), tail(1.0, 150).chain(tail(3.0, 1)).collect::<Vec<_>>());
        assert_eq!(pages.read(b, 200), tail(1.0, 140).chain(tail(2.0, 60)).collect::<Vec<_>>());
        pages.table.close(a);
        assert_eq!(pages.table.free_pages(), 4); // two still belong to b
        assert_eq!(pages.read(b, 140), vec![1.0; 140]);
        pages.table.truncate(b, 64);
        assert_eq!(pages.table.free_pages(), 7);
        pages.table.close(b);
        assert_eq!((pages.table.free_pages(), pages.table.open() < 2), (8, true));
    }
}
