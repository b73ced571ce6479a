# The functions that tests/support/wire.c puts in the place of the system's.
set(WIRE_WRAPS recv send sendmsg setsockopt getpeername shutdown ioctl close getrandom loop_clock_us
               loop_init loop_deinit loop_stop ev_io_start ev_io_stop mailbox_open SSL_set_fd
               io_uring_queue_init io_uring_queue_exit io_uring_submit_and_wait)

# fuzz_target(SOURCE MAIN...): the target NAME of fuzz_NAME.c, with what calls it.
function(fuzz_target source)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source} ${ARGN})
    target_link_libraries(${name} PRIVATE broker_app)
    if(SANITIZE STREQUAL "memory")
        target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/memory_sanitizer.c)
        target_link_options(${name} PRIVATE -Wl,--wrap=SHA1 -Wl,--wrap=msgpack_unpack_next)
        foreach(call inflateInit2_ inflate inflateEnd inflateResetKeep deflateInit2_ deflate deflateEnd deflateReset)
            target_link_options(${name} PRIVATE -Wl,--wrap=${call})
        endforeach()
    endif()
    if(name STREQUAL "fuzz_broker")
        foreach(part wire wire_ring wire_tls)
            target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/${part}.c)
        endforeach()
        foreach(symbol ${WIRE_WRAPS})
            target_link_options(${name} PRIVATE -Wl,--wrap=${symbol})
        endforeach()
    endif()
endfunction()
