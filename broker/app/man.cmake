# Makes a man page of what a program's --help says: cmake -DPROGRAM=... -DNAME=... -DOUTPUT=... -P man.cmake
execute_process(COMMAND ${PROGRAM} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\\" "\\e" help "${help}")
string(REPLACE "-" "\\-" help "${help}")
file(WRITE ${OUTPUT} ".TH ${NAME} 1\n.SH NAME\n${NAME} \\- Fanfare, a real\\-time message broker\n.SH DESCRIPTION\n.nf\n${help}.fi\n")
