# Defines gaitd_client_dependencies: libzmq, cppzmq, msgpack-cxx, threads and dlopen.
#
# By header and library, not by find_package: the packages are called msgpack, msgpackc-cxx or msgpack-cxx depending
# on the distribution, some have no CMake file at all, and some demand Boost although MSGPACK_NO_BOOST does without.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

find_path(GAITD_ZMQ_INCLUDE_DIR zmq.h)
find_path(GAITD_CPPZMQ_INCLUDE_DIR zmq.hpp)
find_path(GAITD_MSGPACK_INCLUDE_DIR msgpack.hpp)
find_library(GAITD_ZMQ_LIBRARY zmq)

foreach(needed "GAITD_ZMQ_INCLUDE_DIR|zmq.h|libzmq3-dev" "GAITD_ZMQ_LIBRARY|libzmq|libzmq3-dev"
               "GAITD_CPPZMQ_INCLUDE_DIR|zmq.hpp|cppzmq-dev"
               "GAITD_MSGPACK_INCLUDE_DIR|msgpack.hpp|libmsgpack-cxx-dev, on Ubuntu 22.04 libmsgpack-dev")
  string(REPLACE "|" ";" needed "${needed}")
  list(GET needed 0 variable)
  if(NOT ${variable})
    list(GET needed 1 what)
    list(GET needed 2 package)
    message(FATAL_ERROR "gaitd_client: ${what} not found. Install the package ${package}, or set ${variable}.")
  endif()
endforeach()

if(NOT TARGET gaitd_client_dependencies)
  add_library(gaitd_client_dependencies INTERFACE IMPORTED GLOBAL)
  set_target_properties(
    gaitd_client_dependencies
    PROPERTIES INTERFACE_INCLUDE_DIRECTORIES
               "${GAITD_ZMQ_INCLUDE_DIR};${GAITD_CPPZMQ_INCLUDE_DIR};${GAITD_MSGPACK_INCLUDE_DIR}"
               INTERFACE_LINK_LIBRARIES "${GAITD_ZMQ_LIBRARY};Threads::Threads;${CMAKE_DL_LIBS}")
endif()
