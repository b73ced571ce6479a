# Makes a C source out of a file: cmake -DINPUT=page.html -DOUTPUT=page.c -DNAME=page -P embed.cmake
file(READ ${INPUT} hex HEX)
string(REGEX MATCHALL "([0-9a-f][0-9a-f])" octets "${hex}")
list(LENGTH octets length)
list(TRANSFORM octets REPLACE "(..)" "'\\\\x\\1',")
string(REGEX REPLACE ";" "" body "${octets}")
string(REGEX REPLACE "('..x..',){16}" "\\0\n" body "${body}")
file(WRITE ${OUTPUT}
    "extern const char ${NAME}[];\nextern const unsigned long ${NAME}_len;\n"
    "const char ${NAME}[] = {\n${body}'\\0'};\nconst unsigned long ${NAME}_len = ${length};\n")
