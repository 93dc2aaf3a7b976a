# One object library per instruction-set level, all from csrc/src/kernels/kernels.cpp.
# Sets CONVOLITE_KERNEL_OBJECTS and CONVOLITE_ISA_DEFINITIONS (which levels exist).

set(CONVOLITE_KERNEL_OBJECTS "")
set(CONVOLITE_ISA_DEFINITIONS "")

function(convolite_add_level level vector_bytes)
  set(target convolite_kernels_${level})
  add_library(${target} OBJECT csrc/src/kernels/kernels.cpp)
  target_include_directories(${target} PRIVATE csrc/include csrc/src)
  target_compile_definitions(${target} PRIVATE CONVOLITE_LEVEL=${level} CONVOLITE_VECTOR_BYTES=${vector_bytes})
  # Contraction is what lets a * b + c become one FMA; the value of every element is the same for any split into tiles.
  target_compile_options(${target} PRIVATE -ffp-contract=fast -fno-math-errno -fno-trapping-math ${ARGN})
  target_link_libraries(${target} PRIVATE convolite_warnings)
  string(TOUPPER ${level} upper)
  set(CONVOLITE_KERNEL_OBJECTS ${CONVOLITE_KERNEL_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
  set(CONVOLITE_ISA_DEFINITIONS ${CONVOLITE_ISA_DEFINITIONS} CONVOLITE_HAS_${upper}=1 PARENT_SCOPE)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$" AND NOT CONVOLITE_PORTABLE)
  set(v2 -march=x86-64 -mcx16 -msahf -mpopcnt -msse3 -msse4.1 -msse4.2 -mssse3)
  set(v3 ${v2} -mavx -mavx2 -mfma)  # what isa.cpp asks the CPU for, no more
  set(v4 ${v3} -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl -mprefer-vector-width=512)
  if(CONVOLITE_EMULATE_ISA)
    # Tests alone use them: what -O3 takes longer to compile, they do not make up for.
    set(v3 ${v2} -O1)
    set(v4 ${v2} -O1)
    list(APPEND CONVOLITE_ISA_DEFINITIONS CONVOLITE_EMULATE_ISA=1)
  endif()
  convolite_add_level(baseline 16 ${v2})
  convolite_add_level(avx2 32 ${v3})
  convolite_add_level(avx512 64 ${v4})
else()
  convolite_add_level(portable 16)
endif()
