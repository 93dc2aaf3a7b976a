// One function for each family of benchmarks; main() calls them in this order.
#pragma once

namespace convolite::benchmarks {

void register_gemm();
void register_conv2d();
void register_pool2d();
void register_norm();
void register_elementwise();

}  // namespace convolite::benchmarks
