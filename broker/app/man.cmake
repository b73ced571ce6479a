# Makes a man page of what a program's --help says, and the --help of each of its COMMANDS:
# cmake -DPROGRAM=... -DNAME=... [-DCOMMANDS=a,b] -DOUTPUT=... -P man.cmake
execute_process(COMMAND ${PROGRAM} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "," ";" COMMANDS "${COMMANDS}")
foreach(command ${COMMANDS})
    execute_process(COMMAND ${PROGRAM} ${command} --help OUTPUT_VARIABLE more COMMAND_ERROR_IS_FATAL ANY)
    string(APPEND help "\n${more}")
endforeach()
string(REPLACE "\\" "\\e" help "${help}")
string(REPLACE "-" "\\-" help "${help}")
file(WRITE ${OUTPUT} ".TH ${NAME} 1\n.SH NAME\n${NAME} \\- Fanfare, a real\\-time message broker\n.SH DESCRIPTION\n.nf\n${help}.fi\n")
