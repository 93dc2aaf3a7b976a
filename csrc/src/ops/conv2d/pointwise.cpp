// With W (oc, c), and X (c, pixels) and Y (oc, pixels) of one image:
//   forward          Y  = W X
//   backward_input   dX = W^T dY
//   backward_weight  dW = the sum over the images of dY X^T
//
// Bound by arithmetic above about 100 channels, by the traffic of X and Y below.
#include "ops/conv2d/pointwise.h"

#include <algorithm>
#include <type_traits>

#include "gemm/gemm.h"
#include "runtime/buffer.h"
#include "runtime/integers.h"
#include "runtime/isa.h"
#include "runtime/threads.h"

namespace convolite {
namespace {

constexpr Index kFewestPixels = 16;
// Of a strided copy that a task multiplies at once: 4 % faster than whole images for 8 x 64 x 56 x
// 56, 2 % for 8 x 128 x 28 x 28 (benchmarks/kernels.py, Zen 3, two threads, 2026-11).
constexpr Index kBandBytes = 64 << 10;
// Of the products that a task spreads out: 8 x 64 x 56 x 56 with stride 2 in one band runs 8 %
// faster than in three (the same, Zen 5, one thread).
constexpr Index kSpreadBytes = 256 << 10;
constexpr Index kFewestBandPixels = 192;  // each band reads all filters: a byte for 96 operations
constexpr Index kBandStep = 16;           // where images are cut: whole vectors of pixels
constexpr Index kTasksPerWorker = 4;      // with fewer bands the product is cut, not the images
constexpr Index kTransposeRows = 24;      // 144 to 24 channels: 1.06 at 64 bytes, 1.19 at 32
constexpr Index kMostPixels = Index{1} << 28;  // rows of a tile are 32-bit offsets apart

bool has_stride(const Conv2dShape& shape) {
  return shape.stride.h != 1 || shape.stride.w != 1;
}

// body(stride) with 2, the usual one, as a constant, which lets the compiler use vectors.
template <class Body>
void with_stride(Index stride, Body body) {
  stride == 2 ? body(std::integral_constant<Index, 2>{}) : body(stride);
}

// Keeps result pixels [begin, end) of one plane: those that the stride meets.
template <class T>
void subsample_plane(const Conv2dShape& shape, const T* plane, Index begin, Index end, T* kept) {
  Index x = begin % shape.output.w;
  for (Index y = begin / shape.output.w; begin < end; ++y, x = 0) {
    const Index count = std::min(shape.output.w - x, end - begin);
    const T* source = plane + y * shape.stride.h * shape.input.w + x * shape.stride.w;
    with_stride(shape.stride.w, [&](auto stride) {
      for (Index i = 0; i < count; ++i) kept[i] = source[i * stride];
    });
    kept += count;
    begin += count;
  }
}

// Of all planes: (n, c, out_h, out_w).
template <class T>
void subsample(const Conv2dShape& shape, const T* input, T* kept) {
  const Nchw& from = shape.input;
  const Index pixels = shape.result().pixels();
  parallel_for(from.n * from.c, from.size(), [&](Index plane, int) {
    subsample_plane(shape, input + plane * from.pixels(), 0, pixels, kept + plane * pixels);
  });
}

// The adjoint: rows of the gradient's plane from those of the result, zeros where the stride does
// not meet. Rows [begin, end) of the result stand at `kept`; with the last of them the plane ends.
template <class T>
void expand_plane(const Conv2dShape& shape, const T* kept, Index begin, Index end, T* plane) {
  const Index width = shape.input.w, columns = shape.output.w, step = shape.stride.h;
  const Index last = end == shape.output.h ? shape.input.h : end * step;
  for (Index y = begin * step; y < last; ++y) {
    T* const target = plane + y * width;
    if (y % step != 0 || y / step >= end) {
      std::fill_n(target, width, T(0));
      continue;
    }
    const T* const row = kept + (y / step - begin) * columns;
    with_stride(shape.stride.w, [&](auto stride) {
      for (Index x = 0; x + 1 < columns; ++x) {
        target[x * stride] = row[x];
        for (Index gap = 1; gap < stride; ++gap) target[x * stride + gap] = T(0);
      }
      const Index place = (columns - 1) * stride;
      target[place] = row[columns - 1];
      std::fill_n(target + place + 1, width - place - 1, T(0));
    });
  }
}

// The pixels of an image cut into even bands, whose strided copy stays in L2.
class Bands {
 public:
  Bands(Index pixels, Index pixel_bytes)
      : pixels_(pixels),
        steps_(ceil_divide(pixels, kBandStep)),
        count_(std::clamp<Index>(pixels * pixel_bytes / kBandBytes, 1,
                                 std::max<Index>(1, pixels / kFewestBandPixels))) {}

  Index count() const { return count_; }
  Index begin(Index band) const { return std::min(steps_ * band / count_ * kBandStep, pixels_); }
  Index most_pixels() const { return ceil_divide(steps_, count_) * kBandStep; }

 private:
  Index pixels_, steps_, count_;
};

// The input, or what the stride leaves of it.
template <class T>
class Source {
 public:
  Source(const Conv2dShape& shape, const T* input) : data_(input) {
    if (!has_stride(shape)) return;
    kept_ = Buffer<T>(shape.input.n * shape.input.c * shape.result().pixels());
    subsample(shape, input, kept_.get());
    data_ = kept_.get();
  }
  const T* get() const { return data_; }

 private:
  Buffer<T> kept_;
  const T* data_;
};

// The product transposes one of its factors, at the cost of kTransposeRows rows of multiplications:
// whether dW^T = X dY^T, which transposes dY, needs less of both than dW = dY X^T.
bool transposes_gradient(Index out, Index in, Index lanes) {
  const auto cost = [=](Index rows, Index transposed) {
    return (rows + kTransposeRows) * round_up(transposed, lanes);
  };
  return cost(in, out) < cost(out, in);
}

}  // namespace

const char* pointwise_declines(const Conv2dShape& shape, Pass) {
  const Padding& padding = shape.padding;
  if (shape.kernel.h != 1 || shape.kernel.w != 1) return "the kernel is not 1x1";
  if (shape.groups != 1) return "groups";
  if (padding.top != 0 || padding.bottom != 0 || padding.left != 0 || padding.right != 0) {
    return "padding";
  }
  if (shape.result().pixels() < kFewestPixels) return "fewer than 16 pixels";
  if (shape.result().pixels() >= kMostPixels) return "2^28 or more pixels";
  return nullptr;
}

template <class T>
void pointwise_forward(const Conv2dShape& shape, const T* input, const T* weight,
                       const Conv2dEpilogue<T>& given, T* output) {
  const Index in = shape.input.c, out = shape.out_channels, pixels = shape.result().pixels();
  const MatrixView<T> filters{weight, in, 1};
  const Epilogue<T> epilogue{nullptr, given.activation, given.bias.data, given.scale.data,
                             given.residual.data};
  const Bands bands(pixels, in * static_cast<Index>(sizeof(T)));
  const Index tasks = shape.input.n * bands.count();
  const Workers workers{worker_count(tasks, multiply_add_work(shape.multiply_adds()))};
  if (!has_stride(shape) || tasks < kTasksPerWorker * workers.count) {
    const Source<T> source(shape, input);
    gemm_each<T>({out, pixels, in}, {shape.input.n, 0, in * pixels, out * pixels}, filters,
                 {source.get(), pixels, 1}, output, epilogue);
    return;
  }
  const WorkerScratch<T> kept(workers.count, in * bands.most_pixels());
  parallel_for(tasks, workers, [&](Index task, int worker) {
    const Index image = task / bands.count(), band = task % bands.count();
    const Index begin = bands.begin(band), end = bands.begin(band + 1), size = end - begin;
    T* const planes = kept.of(worker);
    for (Index c = 0; c < in; ++c) {
      subsample_plane(shape, input + (image * in + c) * shape.input.pixels(), begin, end,
                      planes + c * size);
    }
    const Index first = image * out * pixels + begin;
    Epilogue<T> part = epilogue;
    if (part.residual != nullptr) part.residual += first;
    gemm_each<T>({out, size, in}, {1, 0, 0, 0, pixels}, filters, {planes, size, 1}, output + first,
                 part);
  });
}

template <class T>
void pointwise_backward_input(const Conv2dShape& shape, const T* grad_output, const T* weight,
                              T* grad_input) {
  const Index in = shape.input.c, out = shape.out_channels, pixels = shape.result().pixels();
  const MatrixView<T> filters{weight, 1, in};
  if (!has_stride(shape)) {
    gemm_each<T>({in, pixels, out}, {shape.input.n, 0, out * pixels, in * pixels}, filters,
                 {grad_output, pixels, 1}, grad_input, {});
    return;
  }
  // Rows of the result whose products stay in L2 until they are spread out.
  const Index rows = shape.output.h, columns = shape.output.w;
  const Index element = static_cast<Index>(sizeof(T));
  const EvenParts bands(rows, std::clamp<Index>(in * pixels * element / kSpreadBytes, 1, rows));
  const Index tasks = shape.input.n * bands.count();
  const Workers workers{worker_count(tasks, multiply_add_work(shape.multiply_adds()))};
  if (tasks < kTasksPerWorker * workers.count) {
    const Buffer<T> kept(shape.input.n * in * pixels);
    gemm_each<T>({in, pixels, out}, {shape.input.n, 0, out * pixels, in * pixels}, filters,
                 {grad_output, pixels, 1}, kept.get(), {});
    parallel_for(shape.input.n * in, shape.input.size(), [&](Index plane, int) {
      expand_plane(shape, kept.get() + plane * pixels, 0, rows,
                   grad_input + plane * shape.input.pixels());
    });
    return;
  }
  const Buffer<T> by_rows(in * out);
  kernels<T>().gemm.transpose(out, in, weight, in, by_rows.get(), out);
  const WorkerScratch<T> kept(workers.count, in * bands.size(0) * columns);
  parallel_for(tasks, workers, [&](Index task, int worker) {
    const Index image = task / bands.count(), band = task % bands.count();
    const Index begin = bands.first(band), size = bands.size(band) * columns;
    T* const planes = kept.of(worker);
    gemm_each<T>({in, size, out}, {1, 0, 0, 0, 0}, {by_rows.get(), out, 1},
                 {grad_output + image * out * pixels + begin * columns, pixels, 1}, planes, {});
    for (Index c = 0; c < in; ++c) {
      expand_plane(shape, planes + c * size, begin, begin + bands.size(band),
                   grad_input + (image * in + c) * shape.input.pixels());
    }
  });
}

template <class T>
void pointwise_backward_weight(const Conv2dShape& shape, const T* grad_output, const T* input,
                               T* grad_weight) {
  const Index in = shape.input.c, out = shape.out_channels, pixels = shape.result().pixels();
  const Source<T> source(shape, input);
  const MatrixView<T> grad{grad_output, pixels, 1}, image{source.get(), pixels, 1};
  const Index grad_size = out * pixels, image_size = in * pixels, images = shape.input.n;
  if (transposes_gradient(out, in, kernels<T>().lanes)) {
    const Buffer<T> transposed(in * out);
    gemm_sum<T>({in, out, pixels}, {images, image_size, grad_size, 0}, image,
                {grad_output, 1, pixels}, transposed.get());
    kernels<T>().gemm.transpose(in, out, transposed.get(), out, grad_weight, in);
    return;
  }
  gemm_sum<T>({out, in, pixels}, {images, grad_size, image_size, 0}, grad,
              {source.get(), 1, pixels}, grad_weight);
}

#define CONVOLITE_INSTANTIATE(T)                                                      \
  template void pointwise_forward(const Conv2dShape&, const T*, const T*,             \
                                  const Conv2dEpilogue<T>&, T*);                      \
  template void pointwise_backward_input(const Conv2dShape&, const T*, const T*, T*); \
  template void pointwise_backward_weight(const Conv2dShape&, const T*, const T*, T*);
CONVOLITE_INSTANTIATE(float)
CONVOLITE_INSTANTIATE(double)
#undef CONVOLITE_INSTANTIATE

}  // namespace convolite
