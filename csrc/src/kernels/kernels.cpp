// Every kernel for one instruction-set level. CMake compiles this file once per level with
// CONVOLITE_LEVEL (the namespace) and CONVOLITE_VECTOR_BYTES. All code has internal linkage: a function
// that the linker could merge with another level's copy would run on the wrong CPU.
#include "kernels/table.h"

namespace convolite::CONVOLITE_LEVEL {
namespace {

#include "kernels/vec.h"
//
#include "kernels/gemm_tile.inl"

template <class T>
constexpr KernelTable<T> make_table() {
  return {static_cast<int>(kLanes<T>), gemm_kernels<T>()};
}

}  // namespace

const KernelTable<float> table_f32 = make_table<float>();
const KernelTable<double> table_f64 = make_table<double>();

}  // namespace convolite::CONVOLITE_LEVEL
