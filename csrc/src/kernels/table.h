// The kernels' contract: what each one computes, who may call it how. Everything above this page is
// portable; everything that knows an instruction set is below it.
//
// For every kernel: no allocation, no threads, no exceptions. Pointers need only element alignment
// unless said otherwise. Outputs are overwritten, never read, unless `accumulate` is set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/bias_table.h"
#include "kernels/depthwise_rows_table.h"
#include "kernels/pool_table.h"
#include "kernels/shifted_sum_table.h"

namespace convolite {

// The micro-kernel: C[m][j] (+)= sum_k A[m][k] * B[k][j], then the epilogue, for a tile of `rows` x
// (`vectors` x lanes) elements held in registers.
//
//   A[m][k] = a[a_rows[m] + a_cols[k]]        read in place: packed panels, padded images and
//                                             plain or transposed matrices are the same call
//   B[k][j] = b[k * vectors * lanes + j]      packed, aligned, zero-padded to whole vectors
//   C[m][j] = c[c_rows[m] + j], j < columns   only `columns` of them are touched
//
// Epilogue, in this order: add C's old value (accumulate), multiply by row_scale[m], add bias[j]
// (`columns` values), add row_bias[m], add residual[c_rows[m] + j] (each if not null), clamp to
// [low, high] (if clamp; NaN passes through).
//
// Bound by arithmetic: rows x vectors fused multiply-adds against rows + vectors loads for each k.
template <class T>
struct GemmTileArguments {
  std::ptrdiff_t depth;  // number of k
  const T* a;
  const std::int32_t* a_rows;
  const std::int32_t* a_cols;
  const T* b;
  T* c;
  const std::int32_t* c_rows;
  std::ptrdiff_t columns;
  const T* bias;
  const T* row_bias;
  const T* row_scale;
  const T* residual;
  T low, high;
  bool clamp;
  bool accumulate;
};

// output[at] = clamp(input[i * input_stride + j] + residual[at]), at = j * output_stride + i,
// for i < rows, j < columns.
template <class T>
struct AddTransposedArguments {
  std::ptrdiff_t rows, columns;
  const T* input;
  const T* residual;
  T* output;
  std::ptrdiff_t input_stride, output_stride;
  T low, high;
  bool clamp;
};

constexpr int kMaxTileRows = 8;
constexpr int kMaxTileVectors = 3;

template <class T>
struct GemmKernels {
  using Tile = void (*)(const GemmTileArguments<T>&);
  int rows;                                  // the tallest tile
  int vectors;                               // the widest tile
  Tile tile[kMaxTileVectors][kMaxTileRows];  // [vectors - 1][rows - 1]
  // output[j * output_stride + i] = input[i * input_stride + j] for i < rows, j < columns.
  void (*transpose)(std::ptrdiff_t rows, std::ptrdiff_t columns, const T* input,
                    std::ptrdiff_t input_stride, T* output, std::ptrdiff_t output_stride);
  void (*add_transposed)(const AddTransposedArguments<T>&);
  // output[i * width + j] = input[i * input_stride + j] for i < rows, j < used; zero for used <= j
  // < width. `width` is a multiple of the lanes.
  void (*pack)(std::ptrdiff_t rows, std::ptrdiff_t used, std::ptrdiff_t width, const T* input,
               std::ptrdiff_t input_stride, T* output);
};

// Products with so few rows or so little depth that one pass over B or C, which stand in place, is
// the bound. A[i][k] stands at a[i * a_row_stride + k * a_column_stride].
template <class T>
struct ThinArguments {
  std::ptrdiff_t rows, columns, depth;
  const T* a;
  const T* b;
  T* c;
  std::ptrdiff_t a_row_stride, a_column_stride;
  std::ptrdiff_t b_stride, c_stride;  // from row to row, or column to column
};

template <class T>
struct ThinKernels {
  // What runs faster here than packed: rows of A by either kernel, and depth by by_rows.
  int most_rows_by_columns, most_rows_by_rows, most_depth;
  // C[i][j] = sum over k of A[i][k] * b[j * b_stride + k], lanes over k: a_column_stride is 1.
  void (*by_columns)(const ThinArguments<T>&);
  // C[i][j] = sum over k of A[i][k] * b[k * b_stride + j], lanes over j. C is written once for
  // every few k: its columns should fit the first cache.
  void (*by_rows)(const ThinArguments<T>&);
};

// The transforms of Winograd's F(4x4, 3x3), lanes over `channels`, which are whole vectors. The 36
// transformed values of channel c stand at planes[i * plane_stride + c].
template <class T>
struct WinogradEpilogue {
  const T* bias;  // (channels) or null
  T low, high;
  bool clamp;
};

template <class T>
struct WinogradKernels {
  // values[i] + c: value i (row by row) of channel c; planes are written.
  using Transform = void (*)(const T* const* values, std::ptrdiff_t channels, T* planes,
                             std::ptrdiff_t plane_stride);
  Transform input;        // 6 x 6 pixels
  Transform weight;       // 3 x 3 taps
  Transform grad_output;  // 4 x 4 pixels
  // pixels[i] + c: pixel i of the 4 x 4. Several may share one place: the last one stays. Returns
  // whether all values were finite: the transforms spread NaN and infinity over the whole tile.
  bool (*output)(const T* planes, std::ptrdiff_t plane_stride, std::ptrdiff_t channels,
                 const WinogradEpilogue<T>&, T* const* pixels);
  // taps[i * tap_stride + c]: tap i of the 3 x 3. Returns as above.
  bool (*grad_weight)(const T* planes, std::ptrdiff_t plane_stride, std::ptrdiff_t channels,
                      T* taps, std::ptrdiff_t tap_stride);
};

// Depthwise convolution, lanes over the pixels of a row. Planes are copied to a band: rows `pitch`
// apart with zeros between them, columns dealt out to `step` phases, so that the pixels that one
// tap meets are consecutive at any stride. Padded column q stands in phase q % step at q / step. A
// band is all zero before its first use, and no call changes what it finds between its rows and
// before the first. Each phase has room for one more row and, since whole vectors are read and
// written, for kBandSlack vectors behind that.
constexpr std::ptrdiff_t kBandSlack = 2;

template <class T>
struct DepthwiseBandArguments {
  const T* source;                                     // the first row and column to copy
  const T* source_end;                                 // nothing is read from here on
  std::ptrdiff_t planes, source_stride, source_pitch;  // distance of planes and of rows
  std::ptrdiff_t above, rows, below;                   // rows of zeros, of the image, of zeros
  std::ptrdiff_t left, columns;                        // columns of zeros, of the image
  T* band;
  std::ptrdiff_t step, pitch, phase_stride, band_stride;
};

// Tap t multiplies weight[weights[t]] with the band's element `offsets[t]` from a pixel's place.
struct DepthwiseTaps {
  std::ptrdiff_t count;
  const std::ptrdiff_t* offsets;
  const std::ptrdiff_t* weights;
};

// result[y][x] = clamp(bias + sum over taps t of weight[weights[t]] *
//     source[y / row_phases * source_stride + x / column_phases + offsets[t]] + residual[y][x])
// with the taps of phase [y % row_phases][x % column_phases], for each of `planes` planes: their
// filters and biases (if any) are consecutive, as are their results, and what is added to them, if
// there are several. Whole vectors may be stored past the end of a row as long as they stay within
// `room` elements from `result` on: what stands there is computed later. Only the kernels for one
// phase add a residual.
template <class T>
struct DepthwiseArguments {
  const T* source;
  std::ptrdiff_t source_stride, source_plane_stride;
  const DepthwiseTaps* phases;
  std::ptrdiff_t row_phases, column_phases;
  const T* weight;
  std::ptrdiff_t filter_size;
  const T* bias;  // or null
  std::ptrdiff_t planes, rows, columns;
  const T* residual;  // or null
  T* result;
  std::ptrdiff_t room;
  T low, high;
  bool clamp;
};

// sums[t] += sum over planes and pixels of
//            grad[plane][y][x] * source[plane][y * source_stride + x + offsets[t]].
// Sums run in T within a call: keep the pixels few. Rows of grad are dense.
template <class T>
struct DepthwiseWeightArguments {
  const T* source;
  std::ptrdiff_t source_stride, source_plane_stride;
  const T* grad;
  const T* grad_end;  // nothing is read from here on
  std::ptrdiff_t grad_plane_stride;
  std::ptrdiff_t planes, rows, columns;
  const std::ptrdiff_t* offsets;
  double* sums;
};

constexpr int kMostWeightTaps = 9;

template <class T>
struct DepthwiseKernels {
  using Convolve = void (*)(const DepthwiseArguments<T>&);
  using WeightSums = void (*)(const DepthwiseWeightArguments<T>&);
  void (*fill_band)(const DepthwiseBandArguments<T>&);
  Convolve one_phase;
  // One phase of square taps sorted by row and column, rows `source_stride` / step apart:
  // [step - 1].
  Convolve square_3[2], square_5[2];
  Convolve two_column_phases;  // any row phases
  Convolve any_phases;
  WeightSums weight_taps[kMostWeightTaps];  // [taps - 1]
  WeightSums weight_square_3[2];            // as above
};

// Convolution with groups as lanes: plane i of group g is lane g of image i, a run of pixels of one
// vector each.

// lanes[places[i] + l] = source[l * plane_stride + i] for i < pixels and all lanes l. Of `planes`
// >= 1, fewer than the lanes, the last is repeated.
template <class T>
struct LaneGatherArguments {
  const T* source;
  std::ptrdiff_t planes, plane_stride, pixels;
  std::ptrdiff_t next_plane;  // to the planes that follow: they are on their way meanwhile
  const std::int32_t* places;
  T* lanes;
};

// In every lane and for each result r of one or kLanesTogether, `result_stride` apart:
//   result[y * result_row_step + x * result_step] = clamp(bias[r * bias_stride] +
//       sum over taps t of weight[r * weight_stride + weights[t]] *
//                          source[y * row_step + x * step + offsets[t]]).
// columns >= 1.
template <class T>
struct GroupLaneArguments {
  const T* source;
  std::ptrdiff_t step, row_step;
  DepthwiseTaps taps;
  const T* weight;
  const T* bias;  // or null
  std::ptrdiff_t rows, columns;
  std::ptrdiff_t weight_stride, bias_stride, result_stride;  // of several results
  T* result;
  std::ptrdiff_t result_step, result_row_step;
  T low, high;
  bool accumulate, clamp;
};

// In every lane: sums[t] += sum over pixels of
//                grad[y][x] * source[y * row_step + x * step + offsets[t]],
// and the same for each of kLanesTogether grads, grad_stride apart, whose sums are sums_stride
// apart. Sums run in T: keep the pixels few. Rows of grad are dense.
template <class T>
struct GroupLaneWeightArguments {
  const T* source;
  std::ptrdiff_t step, row_step;
  const std::ptrdiff_t* offsets;
  const T* grad;
  std::ptrdiff_t grad_stride;
  std::ptrdiff_t rows, columns;
  T* sums;
  std::ptrdiff_t sums_stride;
};

constexpr int kLanesTogether = 4;
constexpr int kMostTapsTogether = 6;  // at any level

template <class T>
struct GroupLaneKernels {
  using Convolve = void (*)(const GroupLaneArguments<T>&);
  using WeightSums = void (*)(const GroupLaneWeightArguments<T>&);
  void (*gather)(const LaneGatherArguments<T>&);
  Convolve any_taps;
  Convolve any_taps_together;  // kLanesTogether results
  // Each run of so many taps lies side by side, from left to right; step is 1 or 2 vectors: [step -
  // 1].
  Convolve rows_of_2, rows_of_3[2], rows_of_5[2];
  WeightSums weight_taps[kMostWeightTaps];             // [taps - 1]
  WeightSums weight_taps_together[kMostTapsTogether];  // of kLanesTogether grads
  int most_taps_together;                              // at this level
};

// Element by element. unary: a, output of `count` values. binary: `rows` rows of `columns` values;
// an operand that is no row (at most one of the two) is one value per row. a_stride and b_stride
// lead to the next row; the output is dense. Both may equal the output's place.
template <class T>
struct BinaryArguments {
  const T* a;
  const T* b;
  bool a_is_row, b_is_row;
  std::ptrdiff_t a_stride, b_stride;
  std::ptrdiff_t rows, columns;
  T* output;
};

template <class T>
struct ElementwiseKernels {
  using Unary = void (*)(const T* a, std::ptrdiff_t count, T* output);
  using Binary = void (*)(const BinaryArguments<T>&);
  Unary negative, exp, log, sqrt, abs, sign, reciprocal;
  Binary add, subtract, multiply, divide, power, maximum, minimum;
  Binary equal, power_slope, exponent_slope;
};

// Activation functions over `count` values; `saved` is the output of relu, relu6, sigmoid and tanh,
// the input of the others; `parameter` is the slope of leaky_relu, the alpha of elu.
template <class T>
struct ActivationKernel {
  void (*forward)(const T* input, std::ptrdiff_t count, T parameter, T* output);
  void (*backward)(const T* grad_output, const T* saved, std::ptrdiff_t count, T parameter,
                   T* grad_input);
};

template <class T>
struct ActivationKernels {
  ActivationKernel<T> relu, leaky_relu, relu6, elu, gelu, gelu_tanh, silu, hardswish, hardsigmoid,
      sigmoid, tanh;
};

// Sums and extrema. Runs are contiguous (extrema: count >= 1). The *_rows kernels combine rows >= 1
// rows, column by column: output[j] of `columns`; a sum is plain in T, so keep the rows few.
template <class T>
struct ReduceKernels {
  using Extremum = T (*)(const T* input, std::ptrdiff_t count);
  using Rows = void (*)(const T* input, std::ptrdiff_t stride, std::ptrdiff_t rows,
                        std::ptrdiff_t columns, T* output);
  double (*sum)(const T* input, std::ptrdiff_t count);
  Extremum maximum, minimum;
  Rows sum_rows, maximum_rows, minimum_rows;
};

// Softmax along a contiguous row of `count`, or along columns: entry i < length of column j <
// columns is at [i * stride + j], columns <= kSoftmaxColumns. Entries are never empty: count,
// length >= 1.
constexpr std::ptrdiff_t kSoftmaxColumns = 256;

struct SoftmaxColumns {
  std::ptrdiff_t length, stride, columns;
};

template <class T>
struct SoftmaxKernels {
  using Row = void (*)(const T* input, std::ptrdiff_t count, T* output);
  using RowBackward = void (*)(const T* grad_output, const T* output, std::ptrdiff_t count,
                               T* grad_input);
  using Columns = void (*)(const SoftmaxColumns&, const T* input, T* output);
  using ColumnsBackward = void (*)(const SoftmaxColumns&, const T* grad_output, const T* output,
                                   T* grad_input);
  Row softmax_row, log_softmax_row;
  RowBackward softmax_backward_row, log_softmax_backward_row;
  // output = scale * exp(input); for columns scale has one value per column.
  void (*scaled_exp_row)(const T* input, T scale, std::ptrdiff_t count, T* output);
  Columns softmax_columns, log_softmax_columns;
  ColumnsBackward softmax_backward_columns, log_softmax_backward_columns;
  void (*scaled_exp_columns)(const SoftmaxColumns&, const T* input, const T* scale, T* output);
};

// Optimizer updates of `count` values in place.
template <class T>
struct SgdArguments {
  T lr, momentum, fresh, weight_decay;  // fresh = 1 - dampening
};

template <class T>
struct AdamArguments {
  T fresh1, beta2, fresh2;  // fresh1 = 1 - beta1, fresh2 = 1 - beta2
  T weight_decay;           // decoupled: 1 - lr * weight_decay, the factor of the parameter
  T eps, step_size;         // times c, c = sqrt(1 - beta2^step): c eps, c lr / (1 - beta1^step)
};

template <class T>
struct RmspropArguments {
  T lr, alpha, fresh, eps, weight_decay, momentum;  // fresh = 1 - alpha
};

template <class T>
struct OptimizerKernels {
  using Sgd = void (*)(const SgdArguments<T>&, const T* gradient, std::ptrdiff_t count,
                       T* parameter, T* velocity);
  using Adam = void (*)(const AdamArguments<T>&, const T* gradient, std::ptrdiff_t count,
                        T* parameter, T* exp_avg, T* exp_avg_sq);
  // grad_avg is touched by the centered rules alone, momentum_buffer by those with momentum.
  using Rmsprop = void (*)(const RmspropArguments<T>&, const T* gradient, std::ptrdiff_t count,
                           T* parameter, T* square_avg, T* grad_avg, T* momentum_buffer);
  Sgd sgd, sgd_momentum, sgd_momentum_first, sgd_nesterov, sgd_nesterov_first;
  Adam adam, adam_decoupled;
  Rmsprop rmsprop, rmsprop_momentum, rmsprop_centered, rmsprop_centered_momentum;
};

// Batch normalisation. Runs are contiguous. Coefficients are one value for a whole run of one
// channel (count >= lanes), or, in the per-element forms, one for each element.
//   forward   output = clamp(y), y = (input - mean) * scale + shift
//   backward  g = grad_output where low < y < high, else 0
//             grad_input = g * factor [+ (input - mean) * slope + constant, when training]
// A bound that is NaN does not bind, and a NaN in y passes both ways.
template <class T>
struct NormArguments {
  const T* mean;
  const T* scale;
  const T* shift;
  const T* factor;
  const T* slope;
  const T* constant;
  T low, high;
};

template <class T>
struct NormKernels {
  using Forward = void (*)(std::ptrdiff_t count, const T* input, const NormArguments<T>&,
                           T* output);
  using Backward = void (*)(std::ptrdiff_t count, const T* grad_output, const T* input,
                            const NormArguments<T>&, T* grad_input);
  // sums[0] += sum of input - centre, sums[1] += sum of its squares
  void (*moments)(std::ptrdiff_t count, const T* input, T centre, double* sums);
  // sums[0] += sum of g, sums[1] += sum of g * (input - mean)
  void (*gradient_sums)(std::ptrdiff_t count, const T* grad_output, const T* input,
                        const NormArguments<T>&, double* sums);
  Forward normalise[2];     // [per element]
  Backward gradient[2][2];  // [training][per element]
  // output = clamp(y + residual) [per element]
  void (*normalise_residual[2])(std::ptrdiff_t count, const T* input, const T* residual,
                                const NormArguments<T>&, T* output);
  // The same two pairs of sums for each of `columns` over `rows` rows, overwritten: sums (2,
  // columns). Sums run in T: keep the rows few.
  void (*column_moments)(std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t stride,
                         const T* input, const T* centre, double* sums);
  void (*column_gradient_sums)(std::ptrdiff_t rows, std::ptrdiff_t columns, std::ptrdiff_t stride,
                               const T* grad_output, const T* input, const NormArguments<T>&,
                               double* sums);
};

template <class T>
struct KernelTable {
  int lanes;  // elements of one vector
  GemmKernels<T> gemm;
  ThinKernels<T> thin;
  WinogradKernels<T> winograd;
  DepthwiseKernels<T> depthwise;
  DepthwiseRowsKernels<T> depthwise_rows;
  GroupLaneKernels<T> group_lanes;
  ShiftedSumKernels<T> shifted_sum;
  ElementwiseKernels<T> elementwise;
  ActivationKernels<T> activation;
  ReduceKernels<T> reduce;
  BiasKernels<T> bias;
  SoftmaxKernels<T> softmax;
  OptimizerKernels<T> optimizer;
  PoolKernels<T> pool;
  NormKernels<T> norm;
};

#define CONVOLITE_DECLARE_TABLES(level)       \
  namespace level {                           \
  extern const KernelTable<float> table_f32;  \
  extern const KernelTable<double> table_f64; \
  }
CONVOLITE_DECLARE_TABLES(baseline)
CONVOLITE_DECLARE_TABLES(avx2)
CONVOLITE_DECLARE_TABLES(avx512)
CONVOLITE_DECLARE_TABLES(portable)
#undef CONVOLITE_DECLARE_TABLES

}  // namespace convolite
