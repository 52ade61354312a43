//! Programs: a network as a list of fused ops over planned memory. A program does not define how or where its ops run.

mod batch;
mod builder;
mod layout;
mod objective;
mod op;
mod outputs;
mod page_table;
mod plan;
mod program;

pub use batch::{Batch, IGNORE, Segment};
pub use builder::Builder;
pub use layout::{Param, ParamInfo, ParamLayout, Storage};
pub(crate) use objective::token_losses;
pub use objective::{CrossEntropy, Objective, Score, TokenLoss};
pub use op::{Activation, Describe, Dtype, IntTensor, Io};
pub use outputs::{ExpertTraffic, Losses, Outputs};
pub use page_table::{PAGE, PageCopy, PageTable, pages};
pub use plan::Plan;
pub(crate) use plan::ScheduleStep;
pub use program::{ActivationInfo, Mode, Program};
