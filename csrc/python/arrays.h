// numpy arrays to spans and back: the only code that touches numpy buffers. Inputs of any layout,
// byte order and alignment become C-contiguous native arrays; results come from the reuse cache.
#pragma once

#include <convolite/error.h>
#include <convolite/types.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/buffer.h"

namespace convolite::python {

namespace py = pybind11;

using Shape = std::vector<Index>;
using Pair = std::array<Index, 2>;
using Quadruple = std::array<Index, 4>;

inline HW to_hw(const Pair& pair) {
  return {pair[0], pair[1]};
}

[[noreturn]] inline void fail_type(const std::string& text) {
  throw py::type_error(text);
}

inline std::string dtype_name(const py::array& array) {
  return py::str(array.dtype().attr("name"));
}

inline Shape shape_of(const py::array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}

template <class T>
bool holds(const py::array& array) {
  constexpr char kind = std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
  const py::dtype dtype = array.dtype();
  return dtype.kind() == kind && dtype.itemsize() == static_cast<py::ssize_t>(sizeof(T));
}

// Arithmetic on a zero-dimensional array leaves numpy users with a scalar: it counts as such an
// array.
inline py::array as_array(const py::object& operand) {
  return py::array(operand);
}

// Calls body with a zero of the array's element type, float or double; TypeError for anything else.
template <class Body>
auto dispatch(const char* op, const char* name, const py::array& array, Body&& body) {
  if (holds<float>(array)) return body(float{});
  if (holds<double>(array)) return body(double{});
  fail_type(std::string(op) + ": " + name + " must be float32 or float64, got " +
            dtype_name(array));
}

// Whether the core can work on an array's own memory: of type T, native, C-contiguous and aligned.
template <class T>
bool is_plain(const py::array& array) {
  const char order = array.dtype().byteorder();
  return holds<T>(array) && (order == '=' || order == '|') &&  // native, or of single bytes
         (array.flags() & py::array::c_style) != 0 &&
         reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0;
}

// The array itself, or a C-contiguous copy of it with the same dtype.
inline py::array contiguous(const py::array& array) {
  if ((array.flags() & py::array::c_style) != 0) return array;
  return py::module_::import("numpy").attr("ascontiguousarray")(array);
}

inline Span<const unsigned char> bytes_of(const py::array& contiguous_array) {
  return {static_cast<const unsigned char*>(contiguous_array.data()), contiguous_array.nbytes()};
}

// For operations that move bytes: they would miss the reference counts of Python objects.
inline void refuse_objects(const char* op, const char* name, const py::array& array) {
  if (py::cast<bool>(array.dtype().attr("hasobject"))) {
    fail_type(std::string(op) + ": " + name + " must not hold objects");
  }
}

inline bool same_shape(const py::array& a, const py::array& b) {
  return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

// A read-only argument of element type T: C-contiguous, native and aligned, copied only if it is
// not.
template <class T>
class Input {
 public:
  Input(const char* op, const char* name, const py::array& array, const char* like = "input") {
    if (!holds<T>(array)) {
      fail_type(std::string(op) + ": " + name + " must be " +
                std::string(py::str(py::dtype::of<T>().attr("name"))) + " like " + like + ", got " +
                dtype_name(array));
    }
    if (is_plain<T>(array)) {
      array_ = array;
      return;
    }
    // Not ensure(), which clears the error that numpy raised.
    array_ = py::array_t<T, py::array::c_style | py::array::forcecast>(py::object(array));
    if (reinterpret_cast<std::uintptr_t>(array_.data()) % alignof(T) != 0) {
      array_ = py::array_t<T>(array_.request());  // pybind11 copies: no base is given
    }
  }

  Span<const T> span() const {
    return {static_cast<const T*>(array_.data()), static_cast<Index>(array_.size())};
  }
  Index ndim() const { return array_.ndim(); }
  Index shape(Index axis) const { return array_.shape(axis); }
  Shape shape() const { return shape_of(array_); }

 private:
  py::array array_;
};

// Labels and positions, always copied: another thread that changes them while the GIL is released
// must not change them between their check and their use.
class Indices {
 public:
  Indices(const char* op, const char* name, const py::array& array)
      : input_(op, name, array), copy_(input_.span().size) {
    std::copy_n(input_.span().data, input_.span().size, copy_.get());
  }
  Span<const Index> span() const { return {copy_.get(), input_.span().size}; }
  Shape shape() const { return input_.shape(); }
  const Input<Index>& input() const { return input_; }

 private:
  Input<Index> input_;
  Buffer<Index> copy_;
};

// Like Input, for an argument that may be None: then the span is empty and its data null.
template <class T>
class OptionalInput {
 public:
  OptionalInput(const char* op, const char* name, const py::object& object) {
    if (object.is_none()) return;
    if (!py::isinstance<py::array>(object)) {
      fail_type(std::string(op) + ": " + name + " must be an array or None, got " +
                std::string(py::str(py::type::of(object).attr("__name__"))));
    }
    input_.emplace_back(op, name, py::reinterpret_borrow<py::array>(object));
  }
  bool given() const { return !input_.empty(); }
  const Input<T>& get() const { return input_.front(); }
  Span<const T> span() const { return given() ? get().span() : Span<const T>(); }

 private:
  std::vector<Input<T>> input_;
};

// The memory of an argument that is updated in place; fails unless it can be.
template <class T>
Span<T> span_in_place(const char* op, const char* name, const py::array& array, const char* like) {
  if (!py::isinstance<py::array_t<T>>(array)) {
    fail_type(std::string(op) + ": " + name + " must be " +
              std::string(py::str(py::dtype::of<T>().attr("name"))) + " like " + like +
              " and in native byte order, got " + dtype_name(array));
  }
  if (!array.writeable()) fail(op, ": ", name, " is updated in place but is read-only");
  const bool aligned = reinterpret_cast<std::uintptr_t>(array.data()) % alignof(T) == 0;
  if (!(array.flags() & py::array::c_style) || !aligned) {
    fail(op, ": ", name, " is updated in place but is not C-contiguous and aligned");
  }
  return {static_cast<T*>(const_cast<void*>(array.data())), static_cast<Index>(array.size())};
}

// Likewise, of an array of this shape or, if it is None, of nothing.
template <class T>
Span<T> optional_span_in_place(const char* op, const char* name, const py::object& object,
                               const Shape& shape, const char* like) {
  if (object.is_none()) return {};
  if (!py::isinstance<py::array>(object)) {
    fail_type(std::string(op) + ": " + name +
              " must be a numpy array, since it is updated in place");
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (shape_of(array) != shape) {
    fail(op, ": ", name, " must have shape ", shape_text(shape), ", got ",
         shape_text(shape_of(array)));
  }
  return span_in_place<T>(op, name, array, like);
}

constexpr const char* kCacheMemory = "convolite";  // the name of the owner of such memory

// Whether an array is all that leads to its memory: made by numpy or the core, and no view.
inline bool owns_memory(const py::array& array) {
  return array.owndata() || PyCapsule_IsValid(array.base().ptr(), kCacheMemory) != 0;
}

// A new array of this type and shape in memory from the reuse cache.
class OutputBytes {
 public:
  OutputBytes(const char* op, const py::dtype& dtype, const Shape& shape) {
    Index bytes = dtype.itemsize();
    for (const Index extent : shape) bytes = checked_product(op, bytes, extent);
    void* data = acquire_bytes(bytes);
    const py::capsule owner(data, kCacheMemory, [](void* pointer) { release_bytes(pointer); });
    array_ = py::array(dtype, shape, data, owner);
    span_ = {static_cast<unsigned char*>(data), bytes};
  }
  Span<unsigned char> span() const { return span_; }
  const py::array& array() const { return array_; }

 private:
  py::array array_;
  Span<unsigned char> span_;
};

template <class T>
class Output {
 public:
  Output(const char* op, const Shape& shape) : bytes_(op, py::dtype::of<T>(), shape) {}
  Span<T> span() const {
    const Span<unsigned char> bytes = bytes_.span();
    return {reinterpret_cast<T*>(bytes.data), bytes.size / static_cast<Index>(sizeof(T))};
  }
  const py::array& array() const { return bytes_.array(); }

 private:
  OutputBytes bytes_;
};

// Fails unless the array has `ndim` axes.
template <class T>
void check_ndim(const char* op, const char* name, const Input<T>& input, Index ndim,
                const char* axes) {
  if (input.ndim() != ndim) {
    fail(op, ": ", name, " must have ", ndim, " axes ", axes, ", got ", name,
         ".shape = ", shape_text(input.shape()));
  }
}

template <class T>
void check_shape(const char* op, const char* name, const Input<T>& input, const Shape& expected) {
  if (input.shape() != expected) {
    fail(op, ": ", name, " must have shape ", shape_text(expected), ", got ",
         shape_text(input.shape()));
  }
}

inline Activation parse_activation(const char* op, const std::string& name) {
  if (name == "none") return Activation::none;
  if (name == "relu") return Activation::relu;
  if (name == "relu6") return Activation::relu6;
  fail(op, ": activation must be one of none, relu, relu6, got ", name);
}

}  // namespace convolite::python
