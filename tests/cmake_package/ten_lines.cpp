#include <convolite/conv2d.h>

#include <cstdio>

int main() {
  const auto shape =
      convolite::Conv2dShape::infer({1, 1, 3, 3}, {1, 1, 2, 2}, {1, 1}, {}, {1, 1}, 1);
  const float input[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, weight[] = {1, 0, 0, 1};
  float output[4];
  convolite::conv2d_forward<float>(shape, {input, 9}, {weight, 4}, {}, convolite::Activation::none,
                                   {output, 4});
  std::printf("%g %g %g %g\n", output[0], output[1], output[2], output[3]);
}
