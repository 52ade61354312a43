//! Borrowed matrices.

/// A borrowed matrix: element (i, j) is at `data[i * row_stride + j * col_stride]`; one of the strides is 1.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    /// The elements, starting at (0, 0).
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }
    /// A row-major matrix whose rows are `ld` apart.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, ld: usize) -> Self {
        assert!(rows == 0 || cols == 0 || data.len() >= (rows - 1) * ld + cols, "invariant: the matrix fits its slice");
        Mat { data, rows, cols, row_stride: ld, col_stride: 1 }
    }
    /// The transpose (a view).
    pub fn t(self) -> Self {
        Mat { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// A borrowed row-major matrix to write, rows `ld` apart.
pub struct MatMut<'a> {
    /// The elements, starting at (0, 0).
    pub data: &'a mut [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance between rows.
    pub ld: usize,
}

impl<'a> MatMut<'a> {
    /// A dense row-major matrix.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }
    /// A row-major matrix whose rows are `ld` apart.
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, ld: usize) -> Self {
        assert!(rows == 0 || cols == 0 || data.len() >= (rows - 1) * ld + cols, "invariant: the matrix fits its slice");
        MatMut { data, rows, cols, ld }
    }
    /// Sets all elements to zero.
    pub(super) fn clear(self) {
        self.data.chunks_mut(self.ld).take(self.rows).for_each(|row| row[..self.cols].fill(0.0));
    }
}
