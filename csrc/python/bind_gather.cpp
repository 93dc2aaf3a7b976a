// convolite._core.gather_rows and gather_images.
#include <convolite/gather.h>

#include "arrays.h"

namespace convolite::python {
namespace {

py::array rows(const py::array& any_array, const py::array& indices_array) {
  const char* op = "gather_rows";
  refuse_objects(op, "array", any_array);
  if (any_array.ndim() == 0) fail(op, ": array must have a sample axis, got array.shape = ()");
  const py::array array = contiguous(any_array);
  const Indices indices(op, "indices", indices_array);
  check_ndim(op, "indices", indices.input(), 1, "(batch)");
  Shape result_shape = shape_of(array);
  Index row_bytes = array.itemsize();
  for (std::size_t axis = 1; axis < result_shape.size(); ++axis) row_bytes *= result_shape[axis];
  const GatherRowsShape shape = GatherRowsShape::infer(array.shape(0), row_bytes, indices.span());
  result_shape[0] = shape.batch;
  const OutputBytes output(op, array.dtype(), result_shape);
  {
    const py::gil_scoped_release release;
    gather_rows(shape, bytes_of(array), indices.span(), output.span());
  }
  return output.array();
}

template <class Pixel>
py::array images_of(const py::array& images_array, const py::array& indices_array,
                    const py::array& mean_array, const py::array& std_array,
                    const py::object& shift_y_object, const py::object& shift_x_object,
                    const py::object& flip_object) {
  const char* op = "gather_images";
  const Input<Pixel> images(op, "images", images_array);
  const Indices indices(op, "indices", indices_array);
  const Input<float> mean(op, "mean", mean_array), std(op, "std", std_array);
  const OptionalInput<std::int32_t> shift_y(op, "shift_y", shift_y_object);
  const OptionalInput<std::int32_t> shift_x(op, "shift_x", shift_x_object);
  const OptionalInput<unsigned char> flip(op, "flip", flip_object);
  check_ndim(op, "images", images, 4, "(N, C, H, W)");
  check_ndim(op, "indices", indices.input(), 1, "(batch)");
  const Placement placement{shift_y.span(), shift_x.span(), flip.span()};
  const Nchw size{images.shape(0), images.shape(1), images.shape(2), images.shape(3)};
  const GatherImagesShape shape =
      GatherImagesShape::infer(size, indices.span(), mean.span(), std.span(), placement);
  const Output<float> output(op, {shape.batch, size.c, size.h, size.w});
  {
    const py::gil_scoped_release release;
    gather_images(shape, images.span(), indices.span(), mean.span(), std.span(), placement,
                  output.span());
  }
  return output.array();
}

py::array images(const py::array& images_array, const py::array& indices, const py::array& mean,
                 const py::array& std, const py::object& shift_y, const py::object& shift_x,
                 const py::object& flip) {
  if (holds<unsigned char>(images_array)) {
    return images_of<unsigned char>(images_array, indices, mean, std, shift_y, shift_x, flip);
  }
  if (holds<float>(images_array)) {
    return images_of<float>(images_array, indices, mean, std, shift_y, shift_x, flip);
  }
  fail_type("gather_images: images must be uint8 or float32, got " + dtype_name(images_array));
}

}  // namespace

void bind_gather(py::module_& module) {
  module.def("gather_rows", rows, py::arg("array"), py::arg("indices"));
  module.def("gather_images", images, py::arg("images"), py::arg("indices"), py::arg("mean"),
             py::arg("std"), py::arg("shift_y"), py::arg("shift_x"), py::arg("flip"));
}

}  // namespace convolite::python
