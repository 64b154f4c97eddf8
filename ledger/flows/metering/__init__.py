"""Takes in, corrects, keeps and checks what was used."""
