# The C++ library as a CMake package: find_package(convolite), convolite::convolite.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS convolite EXPORT convolite-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY csrc/include/convolite DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/convolite)
install(EXPORT convolite-targets NAMESPACE convolite:: DESTINATION ${package_dir})
configure_package_config_file(cmake/convolite-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/convolite-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/convolite-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/convolite-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/convolite-config-version.cmake DESTINATION ${package_dir})
