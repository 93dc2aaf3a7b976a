// Every kernel for one instruction-set level. CMake compiles this file once per level with
// CONVOLITE_LEVEL (the namespace) and CONVOLITE_VECTOR_BYTES. All code has internal linkage: a
// function that the linker could merge with another level's copy would run on the wrong CPU.
#include "kernels/table.h"

namespace convolite::CONVOLITE_LEVEL {
namespace {

// Ordered by use, not by name: each may use what stands above it.
// clang-format off
#include "kernels/vec.h"
#include "kernels/gemm_tile.inl"
#include "kernels/winograd.inl"
#include "kernels/math.inl"
#include "kernels/elementwise.inl"
#include "kernels/activation.inl"
#include "kernels/reduce_rows.inl"
#include "kernels/bias_sums.inl"
#include "kernels/gemm_thin.inl"
#include "kernels/depthwise.inl"
#include "kernels/depthwise_rows.inl"
#include "kernels/depthwise_weight.inl"
#include "kernels/group_lanes.inl"
#include "kernels/shifted_sum.inl"
#include "kernels/softmax_rows.inl"
#include "kernels/optimizer.inl"
#include "kernels/norm_rows.inl"
#include "kernels/pool_rows.inl"
// clang-format on

template <class T>
constexpr KernelTable<T> make_table() {
  return {static_cast<int>(kLanes<T>), gemm_kernels<T>(),
          thin_kernels<T>(),           winograd_kernels<T>(),
          depthwise_kernels<T>(),      depthwise_rows_kernels<T>(),
          group_lane_kernels<T>(),     shifted_sum_kernels<T>(),
          elementwise_kernels<T>(),    activation_kernels<T>(),
          reduce_kernels<T>(),         bias_kernels<T>(),
          softmax_kernels<T>(),        optimizer_kernels<T>(),
          pool_kernels<T>(),           norm_kernels<T>()};
}

}  // namespace

const KernelTable<float> table_f32 = make_table<float>();
const KernelTable<double> table_f64 = make_table<double>();

}  // namespace convolite::CONVOLITE_LEVEL
